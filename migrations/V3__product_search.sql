-- Search for products: by words, accents and endings folded, and by likeness where no
-- word is found. Both extensions are trusted ones, which the owner of a database may
-- create without being a superuser.

CREATE EXTENSION IF NOT EXISTS unaccent;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- Two readings of one text. Words as they are written serve the one that is still being
-- typed: `runnin` begins the word `running`, and not its stem `run`.
CREATE TEXT SEARCH CONFIGURATION product_stems (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION product_stems
    ALTER MAPPING FOR word, hword, hword_part WITH unaccent, english_stem;
ALTER TEXT SEARCH CONFIGURATION product_stems
    ALTER MAPPING FOR numword, numhword, hword_numpart WITH unaccent, simple;

CREATE TEXT SEARCH CONFIGURATION product_words (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION product_words
    ALTER MAPPING FOR word, hword, hword_part, numword, numhword, hword_numpart WITH unaccent, simple;

-- Left to itself the parser takes `USB/HDMI` for one file name, `Node.js` for a host and
-- `<b>` for a tag that is no word at all. Character for character, so that a mark in the
-- result has its place in the text.
CREATE FUNCTION product_text(text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN translate($1, '<>&/\@.:_=?%~+#', '               ');

-- The extension calls its function stable, since a dictionary may be altered. This one
-- comes with the extension, and nobody alters it.
CREATE FUNCTION unaccented(text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN unaccent('unaccent'::regdictionary, $1);

-- A name weighs more than a description. The rewrite of the table locks it for as long
-- as it takes: seconds for 100,000 products.
ALTER TABLE products ADD COLUMN search tsvector GENERATED ALWAYS AS (
    setweight(to_tsvector('product_stems', product_text(name)), 'A')
    || setweight(to_tsvector('product_words', product_text(name)), 'A')
    || setweight(to_tsvector('product_stems', product_text(coalesce(description, ''))), 'C')
    || setweight(to_tsvector('product_words', product_text(coalesce(description, ''))), 'C')
) STORED;

CREATE INDEX products_search_idx ON products USING gin (search);
CREATE INDEX products_likeness_idx ON products USING gin (unaccented(name) gin_trgm_ops);

-- The products whose name has words that look like what was asked for. The extension's
-- own threshold, 0.6, misses `smartfone`; below 0.45 a lamp is taken for a laptop.
CREATE FUNCTION products_like(asked text) RETURNS TABLE (id integer, likeness real)
    LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 100
    SET pg_trgm.word_similarity_threshold = 0.45
BEGIN ATOMIC
    SELECT products.id, word_similarity(unaccented(asked), unaccented(products.name))
    FROM products
    WHERE unaccented(products.name) %> unaccented(asked);
END;

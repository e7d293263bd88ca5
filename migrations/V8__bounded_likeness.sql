-- What looks like a word that every name has is every product. Each one is compared letter
-- by letter, so a search ends after the first 5,000; as many as are ranked by their words.
CREATE OR REPLACE FUNCTION products_like(asked text) RETURNS TABLE (id integer, likeness real)
    LANGUAGE sql STABLE STRICT PARALLEL SAFE ROWS 100
    SET pg_trgm.word_similarity_threshold = 0.45
BEGIN ATOMIC
    SELECT products.id, word_similarity(unaccented(asked), unaccented(products.name))
    FROM products
    WHERE unaccented(products.name) %> unaccented(asked)
    LIMIT 5000;
END;

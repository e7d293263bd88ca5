-- What it takes to log in. Apart from `users`, whose rows every caller may read: a query
-- that forgets to leave a column out cannot show a hash.
CREATE TABLE accounts (
    user_id INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- Argon2id, in the PHC string format.
    password_hash TEXT NOT NULL,
    role VARCHAR(20) NOT NULL DEFAULT 'customer',
    CONSTRAINT accounts_role_check CHECK (role IN ('customer', 'admin'))
);

-- One login, with all the refresh tokens that come of it one after another.
CREATE TABLE sessions (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES accounts (user_id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- That of its newest token; the session may be deleted afterwards.
    expires_at TIMESTAMPTZ NOT NULL,
    revoked_at TIMESTAMPTZ
);

CREATE INDEX sessions_user_id_idx ON sessions (user_id);

-- A used token stays until it expires: whoever comes with it again has stolen it, or was
-- robbed of it.
CREATE TABLE refresh_tokens (
    -- SHA-256. Who reads the table cannot use what stands in it.
    digest BYTEA PRIMARY KEY,
    session_id BIGINT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ,
    CONSTRAINT refresh_tokens_digest_check CHECK (length(digest) = 32)
);

CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (session_id);

GRANT SELECT, INSERT, UPDATE ON accounts TO users_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, refresh_tokens TO users_service;

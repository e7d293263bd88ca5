-- A refresh token begins with its family, which is the same in all of a session's: so one
-- that was used is known by the session that it is of, and need not be kept itself. SHA-256.
-- Sessions from before have none until their next refresh.
ALTER TABLE sessions ADD COLUMN family BYTEA UNIQUE;
ALTER TABLE sessions ADD CONSTRAINT sessions_family_check CHECK (length(family) = 32);

-- Each login deletes some that are over, whoever's they were.
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

CREATE TABLE once (
	name  uuid NOT NULL PRIMARY KEY,
	until timestamptz NOT NULL
);

CREATE INDEX once_until ON once (until);

-- What each table holds, column by column, is told in doc/postgres.md.

CREATE TABLE coffer_format (
	one     int8 NOT NULL PRIMARY KEY CHECK (one = 1),
	version int8 NOT NULL
);

INSERT INTO coffer_format (one, version) VALUES (1, 0);

CREATE TABLE vaults (
	vault     uuid NOT NULL PRIMARY KEY,
	documents int8 NOT NULL,
	bytes     int8 NOT NULL,
	changes   int8 NOT NULL,
	law       int8 NOT NULL,
	CONSTRAINT vaults_usage CHECK (documents >= 0 AND bytes >= 0 AND changes >= 0 AND law >= 0)
);

CREATE TABLE documents (
	vault    uuid NOT NULL,
	id       uuid NOT NULL,
	present  bool NOT NULL,
	sequence int8 NOT NULL,
	number   int8 NOT NULL,
	rev      bytea,
	size     int8 NOT NULL,
	chunks   int8 NOT NULL,
	PRIMARY KEY (vault, id)
);

CREATE TABLE revisions (
	vault           uuid NOT NULL,
	id              uuid NOT NULL,
	sequence        int8 NOT NULL,
	rev             bytea NOT NULL,
	size            int8 NOT NULL,
	superseded      timestamptz,
	parents         bytea NOT NULL,
	stream_pending  bool,
	stream_set      int8,
	stream_chunks   int8,
	stream_patch    int8,
	tags            bytea NOT NULL,
	body            bytea NOT NULL,
	PRIMARY KEY (vault, id, sequence)
);

CREATE INDEX revisions_superseded ON revisions (superseded) WHERE superseded IS NOT NULL;

CREATE TABLE tags (
	vault     uuid NOT NULL,
	tag       uuid NOT NULL,
	name      uuid NOT NULL,
	id        uuid NOT NULL,
	exclusive bool NOT NULL,
	PRIMARY KEY (vault, tag, id)
);

CREATE INDEX tags_name ON tags (vault, name, id);

CREATE UNIQUE INDEX tags_exclusive ON tags (vault, tag) WHERE exclusive;

CREATE TABLE feed (
	vault    uuid NOT NULL,
	number   int8 NOT NULL,
	kind     int8 NOT NULL,
	id       uuid NOT NULL,
	sequence int8 NOT NULL,
	rev      bytea,
	author   bytea NOT NULL,
	at       timestamptz NOT NULL,
	PRIMARY KEY (vault, number)
);

CREATE TABLE chunks (
	vault uuid NOT NULL,
	id    uuid NOT NULL,
	series int8 NOT NULL,
	place bytea NOT NULL,
	size  int8 NOT NULL,
	sum   bytea NOT NULL,
	blob  bytea NOT NULL,
	PRIMARY KEY (vault, id, series, place)
);

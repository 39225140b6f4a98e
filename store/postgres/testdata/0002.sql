--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: chunks; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.chunks (
    vault uuid NOT NULL,
    id uuid NOT NULL,
    series bigint NOT NULL,
    place bytea NOT NULL,
    size bigint NOT NULL,
    sum bytea NOT NULL,
    blob bytea NOT NULL
);


--
-- Name: coffer_format; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.coffer_format (
    one bigint NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT coffer_format_one_check CHECK ((one = 1))
);


--
-- Name: documents; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.documents (
    vault uuid NOT NULL,
    id uuid NOT NULL,
    present boolean NOT NULL,
    sequence bigint NOT NULL,
    number bigint NOT NULL,
    rev bytea,
    size bigint NOT NULL,
    chunks bigint NOT NULL
);


--
-- Name: feed; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.feed (
    vault uuid NOT NULL,
    number bigint NOT NULL,
    kind bigint NOT NULL,
    id uuid NOT NULL,
    sequence bigint NOT NULL,
    rev bytea,
    author bytea NOT NULL,
    at timestamp with time zone NOT NULL
);


--
-- Name: once; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.once (
    name uuid NOT NULL,
    until timestamp with time zone NOT NULL
);


--
-- Name: revisions; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.revisions (
    vault uuid NOT NULL,
    id uuid NOT NULL,
    sequence bigint NOT NULL,
    rev bytea NOT NULL,
    size bigint NOT NULL,
    superseded timestamp with time zone,
    parents bytea NOT NULL,
    stream_pending boolean,
    stream_set bigint,
    stream_chunks bigint,
    stream_patch bigint,
    tags bytea NOT NULL,
    body bytea NOT NULL
);


--
-- Name: tags; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.tags (
    vault uuid NOT NULL,
    tag uuid NOT NULL,
    name uuid NOT NULL,
    id uuid NOT NULL,
    exclusive boolean NOT NULL
);


--
-- Name: vaults; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.vaults (
    vault uuid NOT NULL,
    documents bigint NOT NULL,
    bytes bigint NOT NULL,
    changes bigint NOT NULL,
    law bigint NOT NULL,
    CONSTRAINT vaults_usage CHECK (((documents >= 0) AND (bytes >= 0) AND (changes >= 0) AND (law >= 0)))
);


--
-- Data for Name: chunks; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.chunks VALUES ('01020300-0000-0000-0000-000000000000', '01000000-0000-0000-0000-000000000001', 1, '\x0000000000000000', 7, '\x0000000000000000000000000000000000000000000000000000000000000000', '\x626c6f62');


--
-- Data for Name: coffer_format; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.coffer_format VALUES (1, 2);


--
-- Data for Name: documents; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.documents VALUES ('01020300-0000-0000-0000-000000000000', '02000000-0000-0000-0000-000000000001', false, 0, 4, NULL, 0, 0);
INSERT INTO public.documents VALUES ('01020300-0000-0000-0000-000000000000', '01000000-0000-0000-0000-000000000001', true, 1, 2, '\xf87520d18ce7a290baec16a59fed849c6d6e9be98fbb5dd69061647f18fa986e', 12, 1);
INSERT INTO public.documents VALUES ('01020300-0000-0000-0000-000000000000', '03000000-0000-0000-0000-000000000001', true, 0, 5, '\x54f5943629e8e42472fd8307336d77fd7fc5ee4ee74c6672e09e19f5bd9fd6b0', 5, 0);


--
-- Data for Name: feed; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.feed VALUES ('01020300-0000-0000-0000-000000000000', 1, 1, '01000000-0000-0000-0000-000000000001', 0, '\xec8302b580565e6cfc3ddc0dd5835c3d549c01821baa4ec96f06af61a11b586c', '\x6469643a6578616d706c653a777269746572', '2001-09-09 01:46:40+00');
INSERT INTO public.feed VALUES ('01020300-0000-0000-0000-000000000000', 2, 1, '01000000-0000-0000-0000-000000000001', 1, '\xf87520d18ce7a290baec16a59fed849c6d6e9be98fbb5dd69061647f18fa986e', '\x6469643a6578616d706c653a777269746572', '2001-09-09 01:46:40+00');
INSERT INTO public.feed VALUES ('01020300-0000-0000-0000-000000000000', 3, 1, '02000000-0000-0000-0000-000000000001', 0, '\xb8e8be3c1f88b9123460e566c86dd4e98d7cc5e060b42661daa5c9a9db4544ce', '\x6469643a6578616d706c653a777269746572', '2001-09-09 01:46:40+00');
INSERT INTO public.feed VALUES ('01020300-0000-0000-0000-000000000000', 4, 2, '02000000-0000-0000-0000-000000000001', 0, NULL, '\x6469643a6578616d706c653a777269746572', '2001-09-09 01:46:40+00');
INSERT INTO public.feed VALUES ('01020300-0000-0000-0000-000000000000', 5, 1, '03000000-0000-0000-0000-000000000001', 0, '\x54f5943629e8e42472fd8307336d77fd7fc5ee4ee74c6672e09e19f5bd9fd6b0', '\x6469643a6578616d706c653a777269746572', '2001-09-09 01:46:40+00');


--
-- Data for Name: once; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: revisions; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.revisions VALUES ('01020300-0000-0000-0000-000000000000', '01000000-0000-0000-0000-000000000001', 0, '\xec8302b580565e6cfc3ddc0dd5835c3d549c01821baa4ec96f06af61a11b586c', 8, '2001-09-09 01:46:40+00', '\x', NULL, NULL, NULL, NULL, '\x0100016b016e0176', '\x6669727374');
INSERT INTO public.revisions VALUES ('01020300-0000-0000-0000-000000000000', '01000000-0000-0000-0000-000000000001', 1, '\xf87520d18ce7a290baec16a59fed849c6d6e9be98fbb5dd69061647f18fa986e', 12, NULL, '\xec8302b580565e6cfc3ddc0dd5835c3d549c01821baa4ec96f06af61a11b586c', true, 1, 0, 0, '\x0100016b016e017601016b016d0177', '\x7365636f6e64');
INSERT INTO public.revisions VALUES ('01020300-0000-0000-0000-000000000000', '03000000-0000-0000-0000-000000000001', 0, '\x54f5943629e8e42472fd8307336d77fd7fc5ee4ee74c6672e09e19f5bd9fd6b0', 5, NULL, '\x', NULL, NULL, NULL, NULL, '\x01', '\x706c61696e');


--
-- Data for Name: tags; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.tags VALUES ('01020300-0000-0000-0000-000000000000', '3a5659c0-843c-85d9-da22-5c9e6b7078b0', '2a6c399f-b80b-5f8c-6c2a-10556e773952', '01000000-0000-0000-0000-000000000001', false);
INSERT INTO public.tags VALUES ('01020300-0000-0000-0000-000000000000', '5639c753-b9bf-ba3b-b2ca-1160feaf79e3', 'bba14032-87ee-26f6-cc31-58a9c33d60cc', '01000000-0000-0000-0000-000000000001', true);


--
-- Data for Name: vaults; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.vaults VALUES ('01020300-0000-0000-0000-000000000000', 2, 32, 5, 1);


--
-- Name: chunks chunks_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (vault, id, series, place);


--
-- Name: coffer_format coffer_format_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.coffer_format
    ADD CONSTRAINT coffer_format_pkey PRIMARY KEY (one);


--
-- Name: documents documents_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (vault, id);


--
-- Name: feed feed_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.feed
    ADD CONSTRAINT feed_pkey PRIMARY KEY (vault, number);


--
-- Name: once once_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.once
    ADD CONSTRAINT once_pkey PRIMARY KEY (name);


--
-- Name: revisions revisions_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.revisions
    ADD CONSTRAINT revisions_pkey PRIMARY KEY (vault, id, sequence);


--
-- Name: tags tags_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.tags
    ADD CONSTRAINT tags_pkey PRIMARY KEY (vault, tag, id);


--
-- Name: vaults vaults_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.vaults
    ADD CONSTRAINT vaults_pkey PRIMARY KEY (vault);


--
-- Name: once_until; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX once_until ON public.once USING btree (until);


--
-- Name: revisions_superseded; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX revisions_superseded ON public.revisions USING btree (superseded) WHERE (superseded IS NOT NULL);


--
-- Name: tags_exclusive; Type: INDEX; Schema: public; Owner: -
--

CREATE UNIQUE INDEX tags_exclusive ON public.tags USING btree (vault, tag) WHERE exclusive;


--
-- Name: tags_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX tags_name ON public.tags USING btree (vault, name, id);


--
-- PostgreSQL database dump complete
--



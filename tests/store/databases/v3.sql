BEGIN TRANSACTION;
CREATE TABLE events (
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        turn TEXT NOT NULL,
        type TEXT NOT NULL,
        ask TEXT,  -- the id of the `ask`, where a question had one
        body TEXT NOT NULL  -- a token's text, else the frame
    );
INSERT INTO "events" VALUES(1,1,'t1','question','first','{"session":"ended","seq":1,"turn":"t1","type":"question","id":"first","text":"why?","created":"2023-11-14T22:13:20.000Z"}');
INSERT INTO "events" VALUES(1,11,'t1','token',NULL,'Because 🙂.');
INSERT INTO "events" VALUES(1,12,'t1','done',NULL,'{"session":"ended","seq":12,"turn":"t1","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":10,"sha256":"cd167ecf069dbf5c6ea46fe60c1f087818cbbd71fd7fbf4267eab2bef1343ec3"}}');
INSERT INTO "events" VALUES(2,1,'t1','question','a1','{"session":"mixed","seq":1,"turn":"t1","type":"question","id":"a1","text":"why?","created":"2023-11-14T22:13:20.000Z"}');
INSERT INTO "events" VALUES(2,7,'t1','token',NULL,'So it ');
INSERT INTO "events" VALUES(2,8,'t8','question','a2','{"session":"mixed","seq":8,"turn":"t8","type":"question","id":"a2","text":"and then?","created":"2023-11-14T22:13:20.000Z"}');
INSERT INTO "events" VALUES(2,27,'t1','token',NULL,'is.
''Really''; "yes"');
INSERT INTO "events" VALUES(2,28,'t1','done',NULL,'{"session":"mixed","seq":28,"turn":"t1","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":25,"sha256":"38ab84e062258f144e11bfa4aff70a04ed62cc995b2fb33f2e0b997ed38f5861"}}');
INSERT INTO "events" VALUES(2,39,'t8','token',NULL,'half an ans');
INSERT INTO "events" VALUES(3,1,'t1','question',NULL,'{"session":"thoughtful","seq":1,"turn":"t1","type":"question","text":"why?","created":"2023-11-14T22:13:20.000Z"}');
INSERT INTO "events" VALUES(3,23,'t1','thinking',NULL,'{"type": "question"}
🙂');
INSERT INTO "events" VALUES(3,25,'t1','token',NULL,'So');
INSERT INTO "events" VALUES(3,27,'t1','thinking',NULL,'no');
INSERT INTO "events" VALUES(3,28,'t1','done',NULL,'{"session":"thoughtful","seq":28,"turn":"t1","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":2,"sha256":"fb1df1a24e3f6a12ee1fcb639a5c6d61d7919dc10ccb363b7ed75303b0391798"}}');
CREATE TABLE sessions (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL,
        unfinished INTEGER NOT NULL,  -- turns that have a question and no end
        created REAL NOT NULL,
        touched REAL NOT NULL
    );
INSERT INTO "sessions" VALUES(1,'ended',12,0,1700000000.0,60.0);
INSERT INTO "sessions" VALUES(2,'mixed',39,1,1700000000.0,60.0);
INSERT INTO "sessions" VALUES(3,'thoughtful',28,0,1700000000.0,60.0);
CREATE TABLE store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        history TEXT NOT NULL,
        boot TEXT,
        age REAL NOT NULL,
        unscrubbed INTEGER NOT NULL
    );
INSERT INTO "store" VALUES(1,'bXkgaGlzdG9',NULL,3600.0,0);
CREATE INDEX sessions_by_age ON sessions (touched);
CREATE INDEX sessions_unfinished ON sessions (id) WHERE unfinished > 0;
CREATE UNIQUE INDEX events_in_order ON events (session, seq);
CREATE INDEX events_by_turn ON events (session, turn, seq);
CREATE INDEX questions ON events (session, seq) WHERE type = 'question';
CREATE INDEX questions_by_ask ON events (session, ask, seq) WHERE ask IS NOT NULL;
COMMIT;
PRAGMA user_version = 3;
PRAGMA application_id = 1634954082;

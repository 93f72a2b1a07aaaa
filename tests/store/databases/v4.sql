BEGIN TRANSACTION;
CREATE TABLE events (
        session INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        turn TEXT NOT NULL,
        type TEXT NOT NULL,
        ask TEXT,  -- the id of the `ask`, where a question had one
        body TEXT NOT NULL  -- a token's text, else the frame
    , user TEXT);
INSERT INTO "events" VALUES(1,1,'t1','question','first','{"session":"ended","seq":1,"turn":"t1","type":"question","id":"first","text":"why?","created":"2023-11-14T22:13:20.000Z"}',NULL);
INSERT INTO "events" VALUES(1,11,'t1','token',NULL,'Because 🙂.',NULL);
INSERT INTO "events" VALUES(1,12,'t1','done',NULL,'{"session":"ended","seq":12,"turn":"t1","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":10,"sha256":"cd167ecf069dbf5c6ea46fe60c1f087818cbbd71fd7fbf4267eab2bef1343ec3"}}',NULL);
INSERT INTO "events" VALUES(2,1,'t1','question','a1','{"session":"mixed","seq":1,"turn":"t1","type":"question","id":"a1","text":"why?","created":"2023-11-14T22:13:20.000Z"}',NULL);
INSERT INTO "events" VALUES(2,7,'t1','token',NULL,'So it ',NULL);
INSERT INTO "events" VALUES(2,8,'t8','question','a2','{"session":"mixed","seq":8,"turn":"t8","type":"question","id":"a2","text":"and then?","created":"2023-11-14T22:13:20.000Z"}',NULL);
INSERT INTO "events" VALUES(2,27,'t1','token',NULL,'is.
''Really''; "yes"',NULL);
INSERT INTO "events" VALUES(2,28,'t1','done',NULL,'{"session":"mixed","seq":28,"turn":"t1","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":25,"sha256":"38ab84e062258f144e11bfa4aff70a04ed62cc995b2fb33f2e0b997ed38f5861"}}',NULL);
INSERT INTO "events" VALUES(2,39,'t8','token',NULL,'half an ans',NULL);
INSERT INTO "events" VALUES(3,1,'t1','question',NULL,'{"session":"thoughtful","seq":1,"turn":"t1","type":"question","text":"why?","created":"2023-11-14T22:13:20.000Z"}',NULL);
INSERT INTO "events" VALUES(3,23,'t1','thinking',NULL,'{"type": "question"}
🙂',NULL);
INSERT INTO "events" VALUES(3,25,'t1','token',NULL,'So',NULL);
INSERT INTO "events" VALUES(3,27,'t1','thinking',NULL,'no',NULL);
INSERT INTO "events" VALUES(3,28,'t1','done',NULL,'{"session":"thoughtful","seq":28,"turn":"t1","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":2,"sha256":"fb1df1a24e3f6a12ee1fcb639a5c6d61d7919dc10ccb363b7ed75303b0391798"}}',NULL);
INSERT INTO "events" VALUES(4,1,'t1','question',NULL,'{"session":"owned","seq":1,"turn":"t1","type":"question","text":"why?","created":"2023-11-14T22:13:20.000Z"}','ann 🙂');
INSERT INTO "events" VALUES(4,9,'t1','token',NULL,'Because.',NULL);
INSERT INTO "events" VALUES(4,10,'t1','done',NULL,'{"session":"owned","seq":10,"turn":"t1","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":8,"sha256":"8e18bd2e335cd21ec45b4625678dc0095a0dc42605d87dad88ecf36270c22b77"}}',NULL);
INSERT INTO "events" VALUES(4,11,'','title',NULL,'{"session":"owned","seq":11,"type":"title","text":"Colours"}',NULL);
INSERT INTO "events" VALUES(4,12,'t11','question',NULL,'{"session":"owned","seq":12,"turn":"t11","type":"question","text":"and why?","created":"2023-11-14T22:13:20.000Z"}',NULL);
INSERT INTO "events" VALUES(4,13,'t11','done',NULL,'{"session":"owned","seq":13,"turn":"t11","type":"done","reason":"stop","model":"m","usage":null,"timing":{"queued":0,"first_token":null,"total":1000},"check":{"chars":0,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}',NULL);
CREATE TABLE sessions (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        head INTEGER NOT NULL,
        unfinished INTEGER NOT NULL,  -- turns that have a question and no end
        created REAL NOT NULL,
        touched REAL NOT NULL
    , user TEXT, title TEXT NOT NULL DEFAULT '', question TEXT NOT NULL DEFAULT '', updated REAL NOT NULL DEFAULT 0, turns INTEGER);
INSERT INTO "sessions" VALUES(1,'ended',12,0,1700000000.0,60.0,NULL,'','why?',1700000001.0,1);
INSERT INTO "sessions" VALUES(2,'mixed',39,1,1700000000.0,60.0,NULL,'','why?',1700000001.0,2);
INSERT INTO "sessions" VALUES(3,'thoughtful',28,0,1700000000.0,60.0,NULL,'','why?',1700000001.0,1);
INSERT INTO "sessions" VALUES(4,'owned',13,0,1700000000.0,60.0,'ann 🙂','Colours','why?',1.79588060912125229836e+09,2);
CREATE TABLE spent (name TEXT NOT NULL UNIQUE, expires REAL NOT NULL);
CREATE TABLE store (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        history TEXT NOT NULL,
        boot TEXT,
        age REAL NOT NULL,
        unscrubbed INTEGER NOT NULL
    );
INSERT INTO "store" VALUES(1,'bXkgaGlzdG9',NULL,3600.0,0);
CREATE TABLE usage (user TEXT NOT NULL, day TEXT NOT NULL, tokens INTEGER NOT NULL, UNIQUE (user, day));
CREATE INDEX sessions_by_age ON sessions (touched);
CREATE INDEX sessions_unfinished ON sessions (id) WHERE unfinished > 0;
CREATE UNIQUE INDEX events_in_order ON events (session, seq);
CREATE INDEX events_by_turn ON events (session, turn, seq);
CREATE INDEX questions ON events (session, seq) WHERE type = 'question';
CREATE INDEX questions_by_ask ON events (session, ask, seq) WHERE ask IS NOT NULL;
CREATE INDEX sessions_by_user ON sessions (user, updated, id);
CREATE INDEX sessions_by_update ON sessions (updated, id);
COMMIT;
PRAGMA user_version = 4;
PRAGMA application_id = 1634954082;

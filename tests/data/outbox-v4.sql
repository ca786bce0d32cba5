PRAGMA user_version = 4;
BEGIN TRANSACTION;
CREATE TABLE alerts (
	id TEXT NOT NULL,
	job TEXT NOT NULL,
	tag TEXT NOT NULL,
	target TEXT NOT NULL,
	on_failure BOOLEAN NOT NULL,
	on_timeout BOOLEAN NOT NULL,
	on_success BOOLEAN NOT NULL,
	on_long_run_minutes FLOAT,
	created_at FLOAT NOT NULL,
	gone_at FLOAT,
	PRIMARY KEY (id)
);
INSERT INTO "alerts" VALUES('0123456789ab','nightly-*','','https://hooks.example/secret-path',1,1,0,NULL,1768500000.0,NULL);
INSERT INTO "alerts" VALUES('ba9876543210','','team-data','bo@lab.example',1,1,0,NULL,1768500001.0,NULL);
CREATE TABLE attempts (
	seq INTEGER NOT NULL,
	notification TEXT NOT NULL,
	started_at FLOAT NOT NULL,
	ended_at FLOAT,
	outcome TEXT NOT NULL,
	error TEXT NOT NULL,
	provider_id TEXT NOT NULL,
	PRIMARY KEY (seq),
	FOREIGN KEY(notification) REFERENCES notifications (id)
);
INSERT INTO "attempts" VALUES(1,'f992aab90c8e18ddc515cadc3c929eb0',1768500001.0,1768500002.0,'sent','','m1');
INSERT INTO "attempts" VALUES(2,'c51e5c1831ac4c6f34bbb00437d276ac',1768500003.0,1768500004.0,'refused','550 no such mailbox','');
CREATE TABLE events (
	seq INTEGER NOT NULL,
	"key" TEXT NOT NULL,
	kind TEXT NOT NULL,
	entity TEXT NOT NULL,
	occurrence TEXT NOT NULL,
	at TEXT NOT NULL,
	payload JSON NOT NULL,
	noticed_at FLOAT NOT NULL,
	PRIMARY KEY (seq),
	UNIQUE ("key")
);
INSERT INTO "events" VALUES(1,'job/D/owner@datasite.example/ana@uni.example/survey job_submitted 2026-01-15T15:30:00Z','job_submitted','job/D/owner@datasite.example/ana@uni.example/survey','2026-01-15T15:30:00Z','2026-01-15T15:30:00Z','{"name":"survey","submitter":"ana@uni.example"}',1768500000.0);
INSERT INTO "events" VALUES(2,'job/D/owner@datasite.example/ana@uni.example/survey job_failed 2026-01-15T15:30:00Z','job_failed','job/D/owner@datasite.example/ana@uni.example/survey','2026-01-15T15:30:00Z','2026-01-15T15:30:00Z','{"name":"survey","submitter":"ana@uni.example"}',1768500000.0);
INSERT INTO "events" VALUES(3,'job/D/owner@datasite.example/ana@uni.example/census job_submitted 2026-01-15T15:30:00Z','job_submitted','job/D/owner@datasite.example/ana@uni.example/census','2026-01-15T15:30:00Z','2026-01-15T15:30:00Z','{"name":"census","submitter":"ana@uni.example"}',1768500000.0);
CREATE TABLE notifications (
	seq INTEGER NOT NULL,
	id TEXT NOT NULL,
	event_key TEXT NOT NULL,
	entity TEXT NOT NULL,
	medium TEXT NOT NULL,
	recipient TEXT NOT NULL,
	audience TEXT NOT NULL,
	transport TEXT NOT NULL,
	route TEXT DEFAULT '' NOT NULL,
	bundle TEXT NOT NULL,
	state TEXT NOT NULL,
	reason TEXT NOT NULL,
	created_at FLOAT NOT NULL,
	not_before FLOAT NOT NULL,
	first_failed_at FLOAT,
	failures INTEGER NOT NULL,
	refusals INTEGER NOT NULL,
	claimed_by TEXT,
	claimed_at FLOAT,
	thread TEXT NOT NULL,
	PRIMARY KEY (seq),
	UNIQUE (event_key, medium, recipient),
	UNIQUE (id),
	FOREIGN KEY(event_key) REFERENCES events ("key")
);
INSERT INTO "notifications" VALUES(1,'f992aab90c8e18ddc515cadc3c929eb0','job/D/owner@datasite.example/ana@uni.example/survey job_submitted 2026-01-15T15:30:00Z','job/D/owner@datasite.example/ana@uni.example/survey','mail','owner@datasite.example','owner','box','built-in: owner','','sent','',1768500000.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(2,'c51e5c1831ac4c6f34bbb00437d276ac','job/D/owner@datasite.example/ana@uni.example/survey job_failed 2026-01-15T15:30:00Z','job/D/owner@datasite.example/ana@uni.example/survey','mail','owner@datasite.example','owner','box','built-in: owner','','dead','550 no such mailbox',1768500000.0,0.0,1768500004.0,1,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(3,'334bc25a548b0f3f9b18c987b038090c','job/D/owner@datasite.example/ana@uni.example/census job_submitted 2026-01-15T15:30:00Z','job/D/owner@datasite.example/ana@uni.example/census','mail','owner@datasite.example','owner','box','built-in: owner','','pending','',1768500000.0,0.0,NULL,0,0,NULL,NULL,'');
CREATE INDEX ix_events_entity ON events (entity);
CREATE INDEX states ON notifications (state);
CREATE INDEX conversation ON notifications (entity, recipient, seq);
CREATE INDEX due ON notifications (transport, state, not_before);
CREATE INDEX waiting ON notifications (transport, seq) WHERE state IN ('pending', 'unknown');
CREATE INDEX ix_attempts_notification ON attempts (notification);
CREATE INDEX recent ON attempts (started_at);
CREATE INDEX ix_attempts_outcome ON attempts (outcome);
COMMIT;

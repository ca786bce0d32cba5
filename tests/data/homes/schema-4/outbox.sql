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
INSERT INTO "alerts" VALUES('f07430e05c5c','night*','','watch@site.example',1,1,0,NULL,1.7957273664219074249e+09,NULL);
INSERT INTO "alerts" VALUES('b79f4acbaf56','cohort','','https://127.0.0.1:1/secret-path',1,1,0,NULL,1.79572737032776069644e+09,NULL);
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
INSERT INTO "attempts" VALUES(1,'80719b80947a7a9bba6ea23c1ad8cf79',1800000060.0,1800000060.0,'sent','','1795727362.M184824P1757Q1.vm');
INSERT INTO "attempts" VALUES(2,'1d767576be8232a4d2432cfb9d2be076',1800000060.0,1800000060.0,'sent','','1795727362.M184824P1757Q1.vm');
INSERT INTO "attempts" VALUES(3,'8bea71cdb274e6b1f315827155384d25',1800000120.0,1800000120.0,'no_answer','127.0.0.1 could not be reached (ConnectError)','');
INSERT INTO "attempts" VALUES(4,'a49d2a0898c8b79c3ade4a2b1ec49042',1800000120.0,1800000120.0,'sent','','1795727362.M529749P1757Q2.vm');
INSERT INTO "attempts" VALUES(5,'9d6e1058bc9f8526540f755a30db7740',1800000120.0,1800000120.0,'sent','','1795727362.M631776P1757Q5.vm');
INSERT INTO "attempts" VALUES(6,'932a2df4b3c098e0451438e3c7c58264',1800000120.0,1800000120.0,'sent','','1795727362.M610553P1757Q4.vm');
INSERT INTO "attempts" VALUES(7,'b7f093773b7c84b6d3e842737dff63e1',1800000120.0,1800000120.0,'sent','','1795727362.M566847P1757Q3.vm');
INSERT INTO "attempts" VALUES(8,'245c3ff411bef09d7bff8972ccc663e8',1800000120.0,1800000120.0,'sent','','1795727362.M679664P1757Q8.vm');
INSERT INTO "attempts" VALUES(9,'5fb281001739c1a4536491bccda9261b',1800000120.0,1800000120.0,'sent','','1795727362.M635300P1757Q6.vm');
INSERT INTO "attempts" VALUES(10,'9063418625851b8fdccd4978ea54729e',1800000120.0,1800000120.0,'sent','','1795727362.M656757P1757Q7.vm');
INSERT INTO "attempts" VALUES(11,'c64d8176e417d7ae1c495842df768244',1800000120.0,1800000120.0,'sent','','1795727362.M701004P1757Q9.vm');
INSERT INTO "attempts" VALUES(12,'881619fc5baa8f6325a9913a77d96b12',1800000120.0,1800000120.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(13,'8690ffff66d74be3aec096baf51a2ad3',1800000120.0,1800000120.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(14,'8bea71cdb274e6b1f315827155384d25',1800000180.0,1800000180.0,'no_answer','127.0.0.1 could not be reached (ConnectError)','');
INSERT INTO "attempts" VALUES(15,'af38b718b8e1ad346a9c5cd7de6337bb',1800000180.0,1800000180.0,'sent','','1795727363.M88760P1757Q11.vm');
INSERT INTO "attempts" VALUES(16,'e85510ad7c7e3ae7a5e4bfe441de4dc6',1800000180.0,1800000180.0,'sent','','1795727363.M123685P1757Q13.vm');
INSERT INTO "attempts" VALUES(17,'57ff150f1ad7cfa70395ad36827b2d83',1800000180.0,1800000180.0,'sent','','1795727363.M39103P1757Q10.vm');
INSERT INTO "attempts" VALUES(18,'4eda30036a3cb5ea1557b6af2b3c795f',1800000180.0,1800000180.0,'sent','','1795727363.M108299P1757Q12.vm');
INSERT INTO "attempts" VALUES(19,'881619fc5baa8f6325a9913a77d96b12',1800000180.0,1800000180.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(20,'8690ffff66d74be3aec096baf51a2ad3',1800000180.0,1800000180.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(21,'64531f9e34635bd795e52082936f16fd',1800000180.0,1800000180.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(22,'8bea71cdb274e6b1f315827155384d25',1800000300.0,1800000300.0,'no_answer','127.0.0.1 could not be reached (ConnectError)','');
INSERT INTO "attempts" VALUES(23,'d30fbf631375ddbf2c74ac2c83673422',1800000300.0,1800000300.0,'sent','','1795727371.M427021P1757Q14.vm');
INSERT INTO "attempts" VALUES(24,'9419fc9f231d3615e96ab63eafe97b77',1800000300.0,1800000300.0,'sent','','1795727371.M496886P1757Q15.vm');
INSERT INTO "attempts" VALUES(25,'881619fc5baa8f6325a9913a77d96b12',1800000300.0,1800000300.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(26,'8690ffff66d74be3aec096baf51a2ad3',1800000300.0,1800000300.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(27,'64531f9e34635bd795e52082936f16fd',1800000300.0,1800000300.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(28,'fb9dd5464befb19c3cf2fb469bed92ad',1800000300.0,1800000300.0,'no_answer','the Maildir cannot be opened: File exists','');
INSERT INTO "attempts" VALUES(29,'881619fc5baa8f6325a9913a77d96b12',1801000300.0,NULL,'started','','');
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
INSERT INTO "events" VALUES(1,'job/B4/owner@datasite.example/ana@uni.example/genomes job_submitted 2027-01-15T08:00:00.000031+00:00','job_submitted','job/B4/owner@datasite.example/ana@uni.example/genomes','2027-01-15T08:00:00.000031+00:00','2027-01-15T08:00:00.000031+00:00','{"name":"genomes","owner":"owner@datasite.example","submitter":"ana@uni.example","claimed":"ana@uni.example","layout":"B4","submitted_at":"2027-01-15T08:00:00.000031+00:00","status":"waiting","incomplete":false,"return_code":null,"reason":""}',1800000060.0);
INSERT INTO "events" VALUES(2,'job/D/owner@datasite.example/ana@uni.example/survey job_submitted 2027-01-15T08:00:00.000017Z','job_submitted','job/D/owner@datasite.example/ana@uni.example/survey','2027-01-15T08:00:00.000017Z','2027-01-15T08:00:00.000017Z','{"name":"survey","owner":"owner@datasite.example","submitter":"ana@uni.example","claimed":"","layout":"D","submitted_at":"2027-01-15T08:00:00.000017Z","status":"waiting","incomplete":false,"return_code":null,"reason":""}',1800000060.0);
INSERT INTO "events" VALUES(3,'job/B4/owner@datasite.example/ana@uni.example/genomes job_approved 2027-01-15T08:00:00.000031+00:00','job_approved','job/B4/owner@datasite.example/ana@uni.example/genomes','2027-01-15T08:00:00.000031+00:00','','{"name":"genomes","owner":"owner@datasite.example","submitter":"ana@uni.example","claimed":"ana@uni.example","layout":"B4","submitted_at":"2027-01-15T08:00:00.000031+00:00","status":"approved","incomplete":false,"return_code":null,"reason":""}',1800000120.0);
INSERT INTO "events" VALUES(4,'job/B4/owner@datasite.example/bo@lab.example/trial job_submitted 2027-01-15T08:01:00.000049+00:00','job_submitted','job/B4/owner@datasite.example/bo@lab.example/trial','2027-01-15T08:01:00.000049+00:00','2027-01-15T08:01:00.000049+00:00','{"name":"trial","owner":"owner@datasite.example","submitter":"bo@lab.example","claimed":"bo@lab.example","layout":"B4","submitted_at":"2027-01-15T08:01:00.000049+00:00","status":"waiting","incomplete":false,"return_code":null,"reason":"","code":[{"path":"run.sh","text":"#!/bin/bash\npython main.py\n","cut":false},{"path":"main.py","text":"print(''the mean of the ages'')\n","cut":false}],"code_left_out":[]}',1800000120.0);
INSERT INTO "events" VALUES(5,'job/D/owner@datasite.example/ana@uni.example/survey job_approved 2027-01-15T08:01:00.000034Z','job_approved','job/D/owner@datasite.example/ana@uni.example/survey','2027-01-15T08:01:00.000034Z','2027-01-15T08:01:00.000034Z','{"name":"survey","owner":"owner@datasite.example","submitter":"ana@uni.example","claimed":"","layout":"D","submitted_at":"2027-01-15T08:00:00.000017Z","status":"approved","incomplete":false,"return_code":null,"reason":""}',1800000120.0);
INSERT INTO "events" VALUES(6,'job/D/owner@datasite.example/bo@lab.example/cohort job_failed 2027-01-15T08:01:00.000044Z','job_failed','job/D/owner@datasite.example/bo@lab.example/cohort','2027-01-15T08:01:00.000044Z','2027-01-15T08:01:00.000044Z','{"name":"cohort","owner":"owner@datasite.example","submitter":"bo@lab.example","claimed":"","layout":"D","submitted_at":"2027-01-15T08:00:00.000022Z","status":"failed","incomplete":false,"return_code":1,"reason":"","stderr":"KeyError: ''weight''","stderr_cut":false}',1800000120.0);
INSERT INTO "events" VALUES(7,'peer/owner@datasite.example/cy@clinic.example peer_requested ','peer_requested','peer/owner@datasite.example/cy@clinic.example','','','{"owner":"owner@datasite.example","submitter":"cy@clinic.example","name":"cy@clinic.example"}',1800000120.0);
INSERT INTO "events" VALUES(8,'cluster/7 job_started 6922c8d6b7c947e6b1d2b8375ed1449f','job_started','cluster/7','6922c8d6b7c947e6b1d2b8375ed1449f','2026-11-26T21:09:22.815Z','{"name":"train","user":"ana@uni.example","emitted":true}',1800000180.0);
INSERT INTO "events" VALUES(9,'gpu/0 gpu_available c310a39ed682418c8450119513530b9e','gpu_available','gpu/0','c310a39ed682418c8450119513530b9e','2026-11-26T21:09:22.857Z','{"emitted":true}',1800000180.0);
INSERT INTO "events" VALUES(10,'job/B4/owner@datasite.example/ana@uni.example/genomes job_completed 2027-01-15T08:00:00.000031+00:00','job_completed','job/B4/owner@datasite.example/ana@uni.example/genomes','2027-01-15T08:00:00.000031+00:00','','{"name":"genomes","owner":"owner@datasite.example","submitter":"ana@uni.example","claimed":"ana@uni.example","layout":"B4","submitted_at":"2027-01-15T08:00:00.000031+00:00","status":"done","incomplete":false,"return_code":0,"reason":""}',1800000180.0);
INSERT INTO "events" VALUES(11,'job/D/owner@datasite.example/ana@uni.example/nightly job_submitted 2027-01-15T08:02:00.000059Z','job_submitted','job/D/owner@datasite.example/ana@uni.example/nightly','2027-01-15T08:02:00.000059Z','2027-01-15T08:02:00.000059Z','{"name":"nightly","owner":"owner@datasite.example","submitter":"ana@uni.example","claimed":"","layout":"D","submitted_at":"2027-01-15T08:02:00.000059Z","status":"waiting","incomplete":false,"return_code":null,"reason":"","code":[{"path":"run.sh","text":"#!/bin/bash\npython main.py\n","cut":false},{"path":"main.py","text":"print(''the mean of the ages'')\n","cut":false}],"code_left_out":[]}',1800000180.0);
INSERT INTO "events" VALUES(12,'job/D/owner@datasite.example/bo@lab.example/nightly2 job_submitted 2027-01-15T08:03:00.000064Z','job_submitted','job/D/owner@datasite.example/bo@lab.example/nightly2','2027-01-15T08:03:00.000064Z','2027-01-15T08:03:00.000064Z','{"name":"nightly2","owner":"owner@datasite.example","submitter":"bo@lab.example","claimed":"","layout":"D","submitted_at":"2027-01-15T08:03:00.000064Z","status":"waiting","incomplete":false,"return_code":null,"reason":"","code":[{"path":"run.sh","text":"#!/bin/bash\npython main.py\n","cut":false},{"path":"main.py","text":"print(''the mean of the ages'')\n","cut":false}],"code_left_out":[]}',1800000300.0);
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
INSERT INTO "notifications" VALUES(1,'80719b80947a7a9bba6ea23c1ad8cf79','job/B4/owner@datasite.example/ana@uni.example/genomes job_submitted 2027-01-15T08:00:00.000031+00:00','job/B4/owner@datasite.example/ana@uni.example/genomes','mail','owner@datasite.example','owner','mail','built-in: owner','bundle-db209e0d24d5bd9b9c30e33654501821#eb2505d96379ebf7ea74f51285d72890','sent','',1800000060.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(2,'1d767576be8232a4d2432cfb9d2be076','job/D/owner@datasite.example/ana@uni.example/survey job_submitted 2027-01-15T08:00:00.000017Z','job/D/owner@datasite.example/ana@uni.example/survey','mail','owner@datasite.example','owner','mail','built-in: owner','bundle-db209e0d24d5bd9b9c30e33654501821#eb2505d96379ebf7ea74f51285d72890','sent','',1800000060.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(3,'a49d2a0898c8b79c3ade4a2b1ec49042','job/B4/owner@datasite.example/ana@uni.example/genomes job_approved 2027-01-15T08:00:00.000031+00:00','job/B4/owner@datasite.example/ana@uni.example/genomes','mail','ana@uni.example','submitter','mail','built-in: submitter','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(4,'881619fc5baa8f6325a9913a77d96b12','job/B4/owner@datasite.example/ana@uni.example/genomes job_approved 2027-01-15T08:00:00.000031+00:00','job/B4/owner@datasite.example/ana@uni.example/genomes','mail','archive@site.example','recipient','office','routes+[1]','','sending','the Maildir cannot be opened: File exists',1800000120.0,0.0,1800000120.0,3,0,'host:1',1801000300.0,'');
INSERT INTO "notifications" VALUES(5,'9d6e1058bc9f8526540f755a30db7740','job/B4/owner@datasite.example/bo@lab.example/trial job_submitted 2027-01-15T08:01:00.000049+00:00','job/B4/owner@datasite.example/bo@lab.example/trial','mail','owner@datasite.example','owner','mail','built-in: owner','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(6,'932a2df4b3c098e0451438e3c7c58264','job/B4/owner@datasite.example/bo@lab.example/trial job_submitted 2027-01-15T08:01:00.000049+00:00','job/B4/owner@datasite.example/bo@lab.example/trial','mail','bo@lab.example','submitter','mail','built-in: submitter','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(7,'b7f093773b7c84b6d3e842737dff63e1','job/D/owner@datasite.example/ana@uni.example/survey job_approved 2027-01-15T08:01:00.000034Z','job/D/owner@datasite.example/ana@uni.example/survey','mail','ana@uni.example','submitter','mail','built-in: submitter','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(8,'8690ffff66d74be3aec096baf51a2ad3','job/D/owner@datasite.example/ana@uni.example/survey job_approved 2027-01-15T08:01:00.000034Z','job/D/owner@datasite.example/ana@uni.example/survey','mail','archive@site.example','recipient','office','routes+[1]','','pending','the Maildir cannot be opened: File exists',1800000120.0,0.0,1800000120.0,3,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(9,'8bea71cdb274e6b1f315827155384d25','job/D/owner@datasite.example/bo@lab.example/cohort job_failed 2027-01-15T08:01:00.000044Z','job/D/owner@datasite.example/bo@lab.example/cohort','webhook/hook','hook','recipient','hook','transports.hook.events','','pending','127.0.0.1 could not be reached (ConnectError)',1800000120.0,0.0,1800000120.0,3,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(10,'245c3ff411bef09d7bff8972ccc663e8','job/D/owner@datasite.example/bo@lab.example/cohort job_failed 2027-01-15T08:01:00.000044Z','job/D/owner@datasite.example/bo@lab.example/cohort','mail','owner@datasite.example','owner','mail','built-in: owner','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(11,'5fb281001739c1a4536491bccda9261b','job/D/owner@datasite.example/bo@lab.example/cohort job_failed 2027-01-15T08:01:00.000044Z','job/D/owner@datasite.example/bo@lab.example/cohort','mail','bo@lab.example','submitter','mail','built-in: submitter','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(12,'9063418625851b8fdccd4978ea54729e','peer/owner@datasite.example/cy@clinic.example peer_requested ','peer/owner@datasite.example/cy@clinic.example','mail','owner@datasite.example','owner','mail','built-in: owner','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(13,'c64d8176e417d7ae1c495842df768244','peer/owner@datasite.example/cy@clinic.example peer_requested ','peer/owner@datasite.example/cy@clinic.example','mail','cy@clinic.example','submitter','mail','built-in: submitter','','sent','',1800000120.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(14,'af38b718b8e1ad346a9c5cd7de6337bb','job/B4/owner@datasite.example/ana@uni.example/genomes job_completed 2027-01-15T08:00:00.000031+00:00','job/B4/owner@datasite.example/ana@uni.example/genomes','mail','owner@datasite.example','owner','mail','built-in: owner','','sent','',1800000180.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(15,'e85510ad7c7e3ae7a5e4bfe441de4dc6','job/B4/owner@datasite.example/ana@uni.example/genomes job_completed 2027-01-15T08:00:00.000031+00:00','job/B4/owner@datasite.example/ana@uni.example/genomes','mail','ana@uni.example','submitter','mail','built-in: submitter','','sent','',1800000180.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(16,'57ff150f1ad7cfa70395ad36827b2d83','job/D/owner@datasite.example/ana@uni.example/nightly job_submitted 2027-01-15T08:02:00.000059Z','job/D/owner@datasite.example/ana@uni.example/nightly','mail','owner@datasite.example','owner','mail','built-in: owner','','sent','',1800000180.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(17,'4eda30036a3cb5ea1557b6af2b3c795f','job/D/owner@datasite.example/ana@uni.example/nightly job_submitted 2027-01-15T08:02:00.000059Z','job/D/owner@datasite.example/ana@uni.example/nightly','mail','ana@uni.example','submitter','mail','built-in: submitter','','sent','',1800000180.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(18,'64531f9e34635bd795e52082936f16fd','job/D/owner@datasite.example/ana@uni.example/nightly job_submitted 2027-01-15T08:02:00.000059Z','job/D/owner@datasite.example/ana@uni.example/nightly','mail','office@site.example','recipient','office','routes+[0]','','pending','the Maildir cannot be opened: File exists',1800000180.0,0.0,1800000180.0,2,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(19,'d30fbf631375ddbf2c74ac2c83673422','job/D/owner@datasite.example/bo@lab.example/nightly2 job_submitted 2027-01-15T08:03:00.000064Z','job/D/owner@datasite.example/bo@lab.example/nightly2','mail','owner@datasite.example','owner','mail','built-in: owner','','sent','',1800000300.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(20,'9419fc9f231d3615e96ab63eafe97b77','job/D/owner@datasite.example/bo@lab.example/nightly2 job_submitted 2027-01-15T08:03:00.000064Z','job/D/owner@datasite.example/bo@lab.example/nightly2','mail','bo@lab.example','submitter','mail','built-in: submitter','','sent','',1800000300.0,0.0,NULL,0,0,NULL,NULL,'');
INSERT INTO "notifications" VALUES(21,'fb9dd5464befb19c3cf2fb469bed92ad','job/D/owner@datasite.example/bo@lab.example/nightly2 job_submitted 2027-01-15T08:03:00.000064Z','job/D/owner@datasite.example/bo@lab.example/nightly2','mail','office@site.example','recipient','office','routes+[0]','','pending','the Maildir cannot be opened: File exists',1800000300.0,0.0,1800000300.0,1,0,NULL,NULL,'');
CREATE INDEX ix_events_entity ON events (entity);
CREATE INDEX conversation ON notifications (entity, recipient, seq);
CREATE INDEX states ON notifications (state);
CREATE INDEX waiting ON notifications (transport, seq) WHERE state IN ('pending', 'unknown');
CREATE INDEX due ON notifications (transport, state, not_before);
CREATE INDEX ix_attempts_notification ON attempts (notification);
CREATE INDEX recent ON attempts (started_at);
CREATE INDEX ix_attempts_outcome ON attempts (outcome);
COMMIT;

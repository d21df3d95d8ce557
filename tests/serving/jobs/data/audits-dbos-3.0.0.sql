BEGIN TRANSACTION;
CREATE TABLE application_versions (
    version_id TEXT NOT NULL PRIMARY KEY,
    version_name TEXT NOT NULL UNIQUE,
    version_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL);
INSERT INTO "application_versions" VALUES('0ece76cb-3f5d-40c1-b288-59f66cc27c1f','ee06cf42d7f145cb',1795368502000,1795368502000,'f2at');
CREATE TABLE dbos_migrations (version INTEGER NOT NULL PRIMARY KEY);
INSERT INTO "dbos_migrations" VALUES(114);
CREATE TABLE notifications (
    message_uuid TEXT NOT NULL DEFAULT (hex(randomblob(16))) PRIMARY KEY,
    destination_uuid TEXT NOT NULL,
    topic TEXT,
    message TEXT NOT NULL,
    created_at_epoch_ms INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000), "serialization" TEXT DEFAULT NULL, "consumed" BOOLEAN NOT NULL DEFAULT FALSE,
    FOREIGN KEY (destination_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE "operation_outputs" (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    function_name TEXT NOT NULL DEFAULT '',
    output TEXT,
    error TEXT,
    child_workflow_id TEXT,
    started_at_epoch_ms INTEGER,
    completed_at_epoch_ms INTEGER,
    serialization TEXT,
    application_name TEXT DEFAULT NULL,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    PRIMARY KEY (workflow_uuid, function_id)
);
INSERT INTO "operation_outputs" VALUES('done',1,'shard',NULL,NULL,'done/0',1795368503814,1795368503909,NULL,'f2at',1795368503000);
INSERT INTO "operation_outputs" VALUES('done/0',1,'clean','{"shard":0,"stage":"clean","attempted":[0,1,2],"predictions":[1,0,0],"confidences":[0.526609,0.516456,0.534016],"margins":[-0.106536,-0.06585,-0.136275],"correct":[0,1,2],"probe":{"n":3,"drift":0.0,"probabilities":0,"unusable_gradients":{},"compared":0,"only_single_step":0,"only_iterative":0},"forward_evaluations":0,"gradient_evaluations":0,"model_seconds":0.0,"seconds":0.001,"environment":{"python":"3.11.7","machine":"x86_64","numpy":"2.4.6","onnxruntime":"1.31.1"}}',NULL,NULL,1795368503996,1795368504065,'portable_json','f2at',1795368504000);
INSERT INTO "operation_outputs" VALUES('done/0',2,'square','{"shard":0,"stage":"square","attempted":[0,1,2],"broken":{"predictions":[0,1,1],"confidences":[0.526161,0.519843,0.508006],"margins":[0.104739,0.079412,0.032026],"positions":[0,1,2],"distances":[64.0,64.0,64.0],"nearest":[34.0,30.0,52.0]},"lost":[],"examples":[],"forward_evaluations":4,"gradient_evaluations":0,"model_seconds":0.0,"seconds":0.016,"environment":{"python":"3.11.7","machine":"x86_64","numpy":"2.4.6","onnxruntime":"1.31.1"}}',NULL,NULL,1795368504108,1795368504125,'portable_json','f2at',1795368504000);
INSERT INTO "operation_outputs" VALUES('done/0',3,'iterations','{"shard":0,"stage":"iterations","attempted":[],"broken":null,"standing":[],"confidences":[],"forward_evaluations":0,"gradient_evaluations":0,"model_seconds":0.0,"seconds":0.0,"environment":{"python":"3.11.7","machine":"x86_64","numpy":"2.4.6","onnxruntime":"1.31.1"}}',NULL,NULL,1795368504157,1795368504158,'portable_json','f2at',1795368504000);
INSERT INTO "operation_outputs" VALUES('done/0',4,'curve','{"shard":0,"stage":"curve","attempted":[0,1,2],"distances":[31.0,16.0,30.0],"broken":null,"forward_evaluations":432,"gradient_evaluations":0,"model_seconds":0.029,"seconds":0.658,"environment":{"python":"3.11.7","machine":"x86_64","numpy":"2.4.6","onnxruntime":"1.31.1"}}',NULL,NULL,1795368504202,1795368504861,'portable_json','f2at',1795368504000);
INSERT INTO "operation_outputs" VALUES('done/0',5,'corruptions','{"shard":0,"stage":"corruptions","attempted":[0,1,2],"right":{"noise-in-ball":3,"gaussian-noise":3,"gaussian-blur":3,"contrast":3,"jpeg":3},"forward_evaluations":0,"gradient_evaluations":0,"model_seconds":0.0,"seconds":0.319,"environment":{"python":"3.11.7","machine":"x86_64","numpy":"2.4.6","onnxruntime":"1.31.1"}}',NULL,NULL,1795368504941,1795368505262,'portable_json','f2at',1795368505000);
INSERT INTO "operation_outputs" VALUES('done',2,'report','{"schema_version":2,"request":{"suite":"custom","eps":"64/255","norm":"linf","samples":3,"seed":0,"min_robust_accuracy":null,"examples":0,"attacks":[{"name":"square","queries":5}]},"model":{"digest":"sha256:model","classes":["dark","light"],"input_size":[4,4]},"surrogate":null,"data":{"set_size":30,"sha256":"a29ee830169d2c24b4408bca5d04e8ae36687d9853c56e0725b419d0d9c5107b","shard_size":25,"n":3,"indices":[2,11,26],"seed":0},"threat_model":{"norm":"linf","eps":"64/255","effective_eps":"64/255","levels":64.0,"pixels":"8-bit, 0 to 255; eps is in units of the full range","knowledge":["black-box"],"query_budget":{"square":5},"goal":"any wrong class (untargeted)"},"clean":{"k":3,"n":3,"value":1.0,"low":0.43850296824495466,"high":1.0,"confidence":0.95},"robust":{"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},"verdict":{"threshold":null,"outcome":null},"attacks":[{"name":"square","parameters":{"queries":5,"initial_fraction":0.8},"title":"Square attack (Andriushchenko et al. 2020)","paper":"https://arxiv.org/abs/1912.00049","knowledge":"black-box","on":"model","seed":[0,2],"every":1,"attempted":3,"broken":3,"forward_evaluations":4,"gradient_evaluations":0,"robust":{"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},"alone":null}],"iterations":null,"curve":{"points":[{"eps":"0","levels":0.0,"k":3,"n":3,"value":1.0,"low":0.43850296824495466,"high":1.0,"confidence":0.95},{"eps":"16/255","levels":16.0,"k":2,"n":3,"value":0.6666666666666666,"low":0.20765960080204782,"high":0.9385080552796038,"confidence":0.95},{"eps":"32/255","levels":32.0,"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},{"eps":"48/255","levels":48.0,"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},{"eps":"64/255","levels":64.0,"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},{"eps":"80/255","levels":80.0,"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},{"eps":"96/255","levels":96.0,"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},{"eps":"112/255","levels":112.0,"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95},{"eps":"128/255","levels":128.0,"k":0,"n":3,"value":0.0,"low":0.0,"high":0.5614970317550454,"confidence":0.95}],"samples":3,"median_minimal_perturbation":{"levels":30.0,"n":3,"norm":"linf"},"minimal_perturbations":[{"index":2,"levels":31.0},{"index":11,"levels":16.0},{"index":26,"levels":30.0}],"broken_inside_eps":0,"attack":{"name":"square","parameters":{"queries":200,"initial_fraction":0.8}}},"confidences":null,"corruptions":[{"name":"noise-in-ball","title":"Random noise of the attacks'' size","severity":null,"parameters":{},"in_ball":true,"k":3,"n":3,"value":1.0,"low":0.43850296824495466,"high":1.0,"confidence":0.95},{"name":"gaussian-noise","title":"Gaussian noise","severity":3,"parameters":{"sigma":0.08},"in_ball":false,"k":3,"n":3,"value":1.0,"low":0.43850296824495466,"high":1.0,"confidence":0.95},{"name":"gaussian-blur","title":"Gaussian blur","severity":3,"parameters":{"sigma":0.7},"in_ball":false,"k":3,"n":3,"value":1.0,"low":0.43850296824495466,"high":1.0,"confidence":0.95},{"name":"contrast","title":"Low contrast","severity":3,"parameters":{"factor":0.4},"in_ball":false,"k":3,"n":3,"value":1.0,"low":0.43850296824495466,"high":1.0,"confidence":0.95},{"name":"jpeg","title":"JPEG compression","severity":3,"parameters":{"quality":58},"in_ball":false,"k":3,"n":3,"value":1.0,"low":0.43850296824495466,"high":1.0,"confidence":0.95}],"classes":[{"name":"dark","n":2,"clean":{"k":2,"n":2,"value":1.0,"low":0.3423802275066532,"high":1.0,"confidence":0.95},"robust":{"k":0,"n":2,"value":0.0,"low":0.0,"high":0.6576197724933468,"confidence":0.95}},{"name":"light","n":1,"clean":{"k":1,"n":1,"value":1.0,"low":0.2065493143772375,"high":1.0,"confidence":0.95},"robust":{"k":0,"n":1,"value":0.0,"low":0.0,"high":0.7934506856227626,"confidence":0.95}}],"flags":[{"name":"softmax_outputs","raised":false,"title":"The model returns probabilities, not logits","meaning":"Softmax outputs saturate: where the model is sure, their gradients vanish in rounding and attacks that follow them stall. Export the model without its softmax, or the figures here may be too good.","evidence":"0 of 3 outputs are non-negative and sum to 1"},{"name":"randomised_outputs","raised":false,"title":"The same image gets different answers","meaning":"Outputs change from one call to the next. Attacks that follow a single draw are weaker than an attacker who averages over many, so the robust accuracy here may be too good.","evidence":"asked twice, the model gave the same outputs"},{"name":"zero_gradients","raised":null,"title":"Gradients vanish","meaning":"For many images the gradient is zero or not a number, so attacks that follow it cannot move. Robustness that rests on this is usually an illusion: an attacker can use other means.","evidence":"the model gives no gradients"},{"name":"black_box_beats_white_box","raised":null,"title":"An attack without gradients succeeds where those with gradients fail","meaning":"Knowing the model should only help. That it does not means that its gradients mislead, and that a better gradient attack would find more errors than this audit did.","evidence":"the suite has no attack that follows the model''s gradients"},{"name":"iterative_weaker_than_single_step","raised":null,"title":"Many small steps do worse than a single one","meaning":"An attack that may take many steps contains the one that takes a single step. That it finds less means that gradients mislead near the images, a known artefact of training against single steps.","evidence":"the model gives no gradients"},{"name":"more_steps_still_help","raised":null,"title":"More steps find more errors","meaning":"An attack with twice the steps broke images that the suite had left standing. The suite stopped too soon for this model, and the robust accuracy here is likely still too good. Ask for a stronger suite.","evidence":"the model gives no gradients"},{"name":"accuracy_above_chance_at_any_radius","raised":false,"title":"The model withstands perturbations that can erase the image","meaning":"At the largest radius tried every image can be turned into plain grey, so no classifier can do better than chance. The attacks do not find the errors that must be there, and the other figures suffer from the same.","evidence":"at eps 128/255, 0 of 3 are still right; chance is 66.7%"},{"name":"success_lost_on_grid","raised":false,"title":"Rounding to 8 bits undoes attacks","meaning":"Some perturbations fool the model as real numbers but not as the 8-bit images that it accepts. The images count as robust, rightly for this input format, but by a hair: other formats may let the attacker in.","evidence":"0 of 3 images"}],"samples":[{"index":2,"label":1,"broken_by":"square","prediction":1,"confidence":0.526609,"margin":-0.106536,"adversarial_prediction":0,"adversarial_confidence":0.526161,"adversarial_distance":64.0},{"index":11,"label":0,"broken_by":"square","prediction":0,"confidence":0.516456,"margin":-0.06585,"adversarial_prediction":1,"adversarial_confidence":0.519843,"adversarial_distance":64.0},{"index":26,"label":0,"broken_by":"square","prediction":0,"confidence":0.534016,"margin":-0.136275,"adversarial_prediction":1,"adversarial_confidence":0.508006,"adversarial_distance":64.0}],"examples":[],"limitations":["An attack finds errors; it cannot prove that there are none. The robust accuracy is an upper bound on the true one: a stronger or adaptive attack may find more.","Only perturbations inside the stated ball were tried. Rotations, patches, blur, other norms, larger budgets and changes of the scene are outside this threat model.","The intervals say how far the figures may be off because only some images were drawn. They hold for images like these, from the same source, and not for other data.","The attacker sends single 8-bit images of the size the model accepts. What a service does before that, such as resizing or decoding JPEG, was not part of the audit.","The attacker knows only what the model answers (black-box), or another model. Somebody who holds the model itself will find more errors; audit it by a suite with white-box attacks to see how many."],"run":{"id":"done","created":"2026-11-22T17:28:23+00:00","finished":"2026-11-22T17:28:29+00:00","environments":[{"python":"3.11.7","machine":"x86_64","numpy":"2.4.6","onnxruntime":"1.31.1"}],"seconds":{"clean":0.001,"square":0.016,"iterations":0.0,"curve":0.658,"corruptions":0.319},"model_seconds":0.029,"total_seconds":0.994}}',NULL,NULL,1795368504008,1795368509326,'portable_json','f2at',1795368509000);
INSERT INTO "operation_outputs" VALUES('failed',1,'shard',NULL,NULL,'failed/0',1795368509685,1795368509744,NULL,'f2at',1795368509000);
INSERT INTO "operation_outputs" VALUES('failed/0',1,'clean',NULL,'{"name":"ArithmeticError","message":"the model is on fire","code":null}',NULL,1795368509874,1795368509875,'portable_json','f2at',1795368509000);
INSERT INTO "operation_outputs" VALUES('failed',2,'report',NULL,'{"name":"AuditError","message":"the model is on fire","code":null}',NULL,1795368509762,1795368510795,'portable_json','f2at',1795368510000);
CREATE TABLE queues (
    queue_id TEXT PRIMARY KEY DEFAULT (hex(randomblob(16))),
    name TEXT NOT NULL UNIQUE,
    concurrency INTEGER,
    worker_concurrency INTEGER,
    rate_limit_max INTEGER,
    rate_limit_period_sec REAL,
    priority_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    partition_queue BOOLEAN NOT NULL DEFAULT FALSE,
    polling_interval_sec REAL NOT NULL DEFAULT 1.0,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
, "application_name" TEXT DEFAULT NULL, "partition_concurrency" INTEGER DEFAULT NULL, "partition_worker_concurrency" INTEGER DEFAULT NULL, "partition_rate_limit_max" INTEGER DEFAULT NULL, "partition_rate_limit_period_sec" REAL DEFAULT NULL);
INSERT INTO "queues" VALUES('9BBA095318426D703C2D9F1CD86CB042','audits',NULL,1,NULL,NULL,1,0,0.05,1795368502000,1795368502550,'f2at',NULL,NULL,NULL,NULL);
INSERT INTO "queues" VALUES('11E3CC54403124D52F81003AA3F93230','shards',NULL,1,NULL,NULL,1,0,0.05,1795368502000,1795368502690,'f2at',NULL,NULL,NULL,NULL);
CREATE TABLE streams (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    "offset" INTEGER NOT NULL, function_id INTEGER NOT NULL DEFAULT 0, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key, "offset"),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE TABLE workflow_events (
    workflow_uuid TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid) 
        ON UPDATE CASCADE ON DELETE CASCADE
);
INSERT INTO "workflow_events" VALUES('done','progress','{"done":5,"total":5,"stages":[{"stage":"clean","shards":1,"total":1,"samples":3,"robust":3},{"stage":"square","shards":1,"total":1,"samples":3,"robust":0},{"stage":"iterations","shards":1,"total":1,"samples":3,"robust":0},{"stage":"curve","shards":1,"total":1,"samples":3,"robust":0},{"stage":"corruptions","shards":1,"total":1,"samples":3,"robust":0}]}','portable_json');
INSERT INTO "workflow_events" VALUES('failed','progress','{"done":0,"total":5,"stages":[{"stage":"clean","shards":0,"total":1,"samples":0,"robust":0},{"stage":"square","shards":0,"total":1,"samples":0,"robust":0},{"stage":"iterations","shards":0,"total":1,"samples":0,"robust":0},{"stage":"curve","shards":0,"total":1,"samples":0,"robust":0},{"stage":"corruptions","shards":0,"total":1,"samples":0,"robust":0}]}','portable_json');
CREATE TABLE workflow_events_history (
    workflow_uuid TEXT NOT NULL,
    function_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL, "serialization" TEXT DEFAULT NULL,
    PRIMARY KEY (workflow_uuid, function_id, key),
    FOREIGN KEY (workflow_uuid) REFERENCES workflow_status(workflow_uuid)
        ON UPDATE CASCADE ON DELETE CASCADE
);
INSERT INTO "workflow_events_history" VALUES('done',2,'progress','{"done":5,"total":5,"stages":[{"stage":"clean","shards":1,"total":1,"samples":3,"robust":3},{"stage":"square","shards":1,"total":1,"samples":3,"robust":0},{"stage":"iterations","shards":1,"total":1,"samples":3,"robust":0},{"stage":"curve","shards":1,"total":1,"samples":3,"robust":0},{"stage":"corruptions","shards":1,"total":1,"samples":3,"robust":0}]}','portable_json');
INSERT INTO "workflow_events_history" VALUES('failed',2,'progress','{"done":0,"total":5,"stages":[{"stage":"clean","shards":0,"total":1,"samples":0,"robust":0},{"stage":"square","shards":0,"total":1,"samples":0,"robust":0},{"stage":"iterations","shards":0,"total":1,"samples":0,"robust":0},{"stage":"curve","shards":0,"total":1,"samples":0,"robust":0},{"stage":"corruptions","shards":0,"total":1,"samples":0,"robust":0}]}','portable_json');
CREATE TABLE workflow_input (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    inputs TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
INSERT INTO "workflow_input" VALUES('done','{"namedArgs":{},"positionalArgs":[{"suite":"custom","eps":"64/255","norm":"linf","samples":3,"seed":0,"min_robust_accuracy":null,"examples":0,"attacks":[{"name":"square","queries":5}]},"sha256:model"]}',1795368503000);
INSERT INTO "workflow_input" VALUES('done/0','{"namedArgs":{},"positionalArgs":[{"suite":"custom","eps":"64/255","norm":"linf","samples":3,"seed":0,"min_robust_accuracy":null,"examples":0,"attacks":[{"name":"square","queries":5}]},"sha256:model",0]}',1795368503000);
INSERT INTO "workflow_input" VALUES('failed','{"namedArgs":{},"positionalArgs":[{"suite":"custom","eps":"64/255","norm":"linf","samples":3,"seed":0,"min_robust_accuracy":null,"examples":0,"attacks":[{"name":"square","queries":5}]},"sha256:model"]}',1795368509000);
INSERT INTO "workflow_input" VALUES('failed/0','{"namedArgs":{},"positionalArgs":[{"suite":"custom","eps":"64/255","norm":"linf","samples":3,"seed":0,"min_robust_accuracy":null,"examples":0,"attacks":[{"name":"square","queries":5}]},"sha256:model",0]}',1795368509000);
INSERT INTO "workflow_input" VALUES('waiting','{"namedArgs":{},"positionalArgs":[{"suite":"custom","eps":"64/255","norm":"linf","samples":3,"seed":0,"min_robust_accuracy":null,"examples":0,"attacks":[{"name":"square","queries":5}]},"sha256:model"]}',1795368511000);
CREATE TABLE workflow_output (
    workflow_uuid TEXT NOT NULL PRIMARY KEY,
    output TEXT,
    error TEXT,
    retention_timestamp INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000)
);
INSERT INTO "workflow_output" VALUES('done/0','null',NULL,1795368505000);
INSERT INTO "workflow_output" VALUES('done','null',NULL,1795368509000);
INSERT INTO "workflow_output" VALUES('failed/0',NULL,'{"name":"ArithmeticError","message":"the model is on fire","code":null}',1795368509000);
INSERT INTO "workflow_output" VALUES('failed',NULL,'{"name":"AuditError","message":"the model is on fire","code":null}',1795368510000);
CREATE TABLE workflow_schedules (
    schedule_id TEXT PRIMARY KEY,
    schedule_name TEXT NOT NULL UNIQUE,
    workflow_name TEXT NOT NULL,
    workflow_class_name TEXT,
    schedule TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'ACTIVE',
    context TEXT NOT NULL
, "last_fired_at" TEXT DEFAULT NULL, "automatic_backfill" BOOLEAN NOT NULL DEFAULT FALSE, "cron_timezone" TEXT DEFAULT NULL, "queue_name" TEXT DEFAULT NULL, "application_name" TEXT DEFAULT NULL);
CREATE TABLE workflow_status (
    workflow_uuid TEXT PRIMARY KEY,
    status TEXT,
    name TEXT,
    authenticated_user TEXT,
    assumed_role TEXT,
    authenticated_roles TEXT,
    request TEXT,
    output TEXT,
    error TEXT,
    executor_id TEXT,
    created_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    updated_at INTEGER NOT NULL DEFAULT (strftime('%s','now') * 1000),
    application_version TEXT,
    application_id TEXT,
    class_name TEXT DEFAULT NULL,
    config_name TEXT DEFAULT NULL,
    recovery_attempts INTEGER DEFAULT 0,
    queue_name TEXT,
    workflow_timeout_ms INTEGER,
    workflow_deadline_epoch_ms INTEGER,
    inputs TEXT,
    started_at_epoch_ms INTEGER,
    deduplication_id TEXT,
    priority INTEGER NOT NULL DEFAULT 0
, queue_partition_key TEXT, forked_from TEXT, "owner_xid" TEXT DEFAULT NULL, "parent_workflow_id" TEXT DEFAULT NULL, "serialization" TEXT DEFAULT NULL, "delay_until_epoch_ms" BIGINT DEFAULT NULL, "was_forked_from" BOOLEAN NOT NULL DEFAULT FALSE, "rate_limited" BOOLEAN NOT NULL DEFAULT FALSE, "completed_at" BIGINT, "attributes" TEXT, "schedule_name" TEXT, "debounce_deadline_epoch_ms" BIGINT DEFAULT NULL, "is_debounced" BOOLEAN NOT NULL DEFAULT FALSE, "application_name" TEXT DEFAULT NULL);
INSERT INTO "workflow_status" VALUES('done','SUCCESS','audit',NULL,NULL,NULL,NULL,NULL,NULL,'local',1795368503000,1795368509000,'ee06cf42d7f145cb',NULL,NULL,NULL,1,'audits',NULL,NULL,NULL,1795368503000,NULL,0,NULL,NULL,NULL,NULL,'portable_json',NULL,0,0,1795368509000,'null',NULL,NULL,0,'f2at');
INSERT INTO "workflow_status" VALUES('done/0','SUCCESS','shard',NULL,NULL,NULL,NULL,NULL,NULL,'local',1795368503000,1795368505000,'ee06cf42d7f145cb','',NULL,NULL,1,'shards',NULL,NULL,NULL,1795368503000,NULL,0,NULL,NULL,'13404e59-0497-48d1-8604-7209e4ba5d42','done','portable_json',NULL,0,0,1795368505000,'null',NULL,NULL,0,'f2at');
INSERT INTO "workflow_status" VALUES('failed','ERROR','audit',NULL,NULL,NULL,NULL,NULL,NULL,'local',1795368509000,1795368510000,'ee06cf42d7f145cb',NULL,NULL,NULL,1,'audits',NULL,NULL,NULL,1795368509000,NULL,0,NULL,NULL,NULL,NULL,'portable_json',NULL,0,0,1795368510000,'null',NULL,NULL,0,'f2at');
INSERT INTO "workflow_status" VALUES('failed/0','ERROR','shard',NULL,NULL,NULL,NULL,NULL,NULL,'local',1795368509000,1795368509000,'ee06cf42d7f145cb','',NULL,NULL,1,'shards',NULL,NULL,NULL,1795368509000,NULL,0,NULL,NULL,'1b13e0f7-8716-4f13-85ac-b7854016e9be','failed','portable_json',NULL,0,0,1795368509000,'null',NULL,NULL,0,'f2at');
INSERT INTO "workflow_status" VALUES('waiting','ENQUEUED','audit',NULL,NULL,NULL,NULL,NULL,NULL,NULL,1795368511000,1795368511000,'ee06cf42d7f145cb',NULL,NULL,NULL,0,'audits',NULL,NULL,NULL,NULL,NULL,0,NULL,NULL,NULL,NULL,'portable_json',NULL,0,0,NULL,'null',NULL,NULL,0,NULL);
CREATE INDEX workflow_status_created_at_index ON workflow_status (created_at);
CREATE INDEX idx_workflow_topic ON notifications (destination_uuid, topic);
CREATE INDEX "idx_workflow_status_delayed" ON "workflow_status" ("delay_until_epoch_ms") WHERE status = 'DELAYED';
CREATE INDEX "idx_workflow_status_forked_from" ON "workflow_status" ("forked_from") WHERE "forked_from" IS NOT NULL;
CREATE INDEX "idx_workflow_status_parent_workflow_id" ON "workflow_status" ("parent_workflow_id") WHERE "parent_workflow_id" IS NOT NULL;
CREATE UNIQUE INDEX "uq_workflow_status_dedup_id" ON "workflow_status" ("queue_name", "deduplication_id") WHERE "deduplication_id" IS NOT NULL;
CREATE INDEX "idx_workflow_status_pending" ON "workflow_status" ("created_at") WHERE "status" = 'PENDING';
CREATE INDEX "idx_workflow_status_failed" ON "workflow_status" ("status", "created_at") WHERE "status" IN ('ERROR', 'CANCELLED', 'MAX_RECOVERY_ATTEMPTS_EXCEEDED');
CREATE INDEX "idx_workflow_status_in_flight" ON "workflow_status" ("queue_name", "status", "priority", "created_at") WHERE "status" IN ('ENQUEUED', 'PENDING');
CREATE INDEX "idx_workflow_status_rate_limited" ON "workflow_status" ("queue_name", "started_at_epoch_ms") WHERE "rate_limited" = TRUE;
CREATE INDEX "idx_workflow_status_completed_at" ON "workflow_status" ("completed_at") WHERE "completed_at" IS NOT NULL;
CREATE INDEX "idx_workflow_status_started_at" ON "workflow_status" ("started_at_epoch_ms") WHERE "started_at_epoch_ms" IS NOT NULL;
CREATE INDEX "idx_workflow_status_schedule_name" ON "workflow_status" ("schedule_name") WHERE "schedule_name" IS NOT NULL;
CREATE INDEX "idx_workflow_status_partition_dequeue_v2" ON "workflow_status" ("queue_name", "status", "queue_partition_key", "priority", "created_at", "workflow_uuid") WHERE "status" IN ('ENQUEUED', 'PENDING') AND "queue_partition_key" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_owner_version"
    ON application_versions ("application_name", "version_name")
    WHERE "application_name" IS NOT NULL;
CREATE UNIQUE INDEX "uq_application_versions_unclaimed_version"
    ON application_versions ("version_name")
    WHERE "application_name" IS NULL;
CREATE INDEX idx_workflow_input_retention
    ON workflow_input (retention_timestamp);
CREATE INDEX idx_workflow_output_retention
    ON workflow_output (retention_timestamp);
CREATE INDEX idx_operation_outputs_retention
    ON operation_outputs (retention_timestamp);
CREATE INDEX idx_operation_outputs_completed_at_function_name
    ON operation_outputs (completed_at_epoch_ms, function_name);
COMMIT;

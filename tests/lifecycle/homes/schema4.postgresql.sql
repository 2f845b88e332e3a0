CREATE TABLE adapters (
    digest character varying(71) NOT NULL,
    manifest json NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE TABLE alias_moves (
    id integer NOT NULL,
    name character varying(64) NOT NULL,
    alias character varying(64) NOT NULL,
    targets json NOT NULL,
    forced boolean NOT NULL,
    replaced integer,
    created_at timestamp with time zone NOT NULL
);
CREATE SEQUENCE alias_moves_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE alias_moves_id_seq OWNED BY alias_moves.id;
CREATE TABLE alias_policies (
    id integer NOT NULL,
    name character varying(64) NOT NULL,
    alias character varying(64) NOT NULL,
    body json NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE SEQUENCE alias_policies_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE alias_policies_id_seq OWNED BY alias_policies.id;
CREATE TABLE aliases (
    name character varying(64) NOT NULL,
    alias character varying(64) NOT NULL,
    move integer NOT NULL
);
CREATE TABLE api_keys (
    id character varying(32) NOT NULL,
    name character varying(64) NOT NULL,
    digest character varying(71) NOT NULL,
    hint character varying(8) NOT NULL,
    role character varying(16) NOT NULL,
    models json NOT NULL,
    limits json NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone
);
CREATE TABLE audit (
    id integer NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action character varying(32) NOT NULL,
    subject text NOT NULL,
    detail json NOT NULL,
    reason text NOT NULL
);
CREATE SEQUENCE audit_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE audit_id_seq OWNED BY audit.id;
CREATE TABLE canary_outcomes (
    id integer NOT NULL,
    trial character varying(71) NOT NULL,
    service character varying(32) NOT NULL,
    outcomes json NOT NULL,
    told_at timestamp with time zone NOT NULL
);
CREATE SEQUENCE canary_outcomes_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE canary_outcomes_id_seq OWNED BY canary_outcomes.id;
CREATE TABLE dabt_meta (
    key character varying(64) NOT NULL,
    value text NOT NULL
);
CREATE TABLE indexes (
    id integer NOT NULL,
    name character varying(64) NOT NULL,
    digest character varying(71) NOT NULL,
    facts json NOT NULL,
    created_at timestamp with time zone NOT NULL
);
CREATE SEQUENCE indexes_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE indexes_id_seq OWNED BY indexes.id;
CREATE TABLE key_usage (
    key character varying(32) NOT NULL,
    day date NOT NULL,
    version character varying(255) NOT NULL,
    requests bigint NOT NULL,
    prompt_tokens bigint NOT NULL,
    completion_tokens bigint NOT NULL
);
CREATE TABLE reports (
    id integer NOT NULL,
    digest character varying(71) NOT NULL,
    task text NOT NULL,
    body json NOT NULL
);
CREATE SEQUENCE reports_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE reports_id_seq OWNED BY reports.id;
CREATE TABLE verdicts (
    id integer NOT NULL,
    digest character varying(71) NOT NULL,
    version_id integer NOT NULL,
    evaluation_digest character varying(71) NOT NULL,
    passed boolean NOT NULL,
    body json NOT NULL
);
CREATE SEQUENCE verdicts_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE verdicts_id_seq OWNED BY verdicts.id;
CREATE TABLE versions (
    id integer NOT NULL,
    name character varying(64) NOT NULL,
    number integer NOT NULL,
    digest character varying(71) NOT NULL,
    spec json NOT NULL,
    state character varying(16) NOT NULL,
    lineage json NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by text NOT NULL
);
CREATE SEQUENCE versions_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE versions_id_seq OWNED BY versions.id;
ALTER TABLE ONLY alias_moves ALTER COLUMN id SET DEFAULT nextval('alias_moves_id_seq'::regclass);
ALTER TABLE ONLY alias_policies ALTER COLUMN id SET DEFAULT nextval('alias_policies_id_seq'::regclass);
ALTER TABLE ONLY audit ALTER COLUMN id SET DEFAULT nextval('audit_id_seq'::regclass);
ALTER TABLE ONLY canary_outcomes ALTER COLUMN id SET DEFAULT nextval('canary_outcomes_id_seq'::regclass);
ALTER TABLE ONLY indexes ALTER COLUMN id SET DEFAULT nextval('indexes_id_seq'::regclass);
ALTER TABLE ONLY reports ALTER COLUMN id SET DEFAULT nextval('reports_id_seq'::regclass);
ALTER TABLE ONLY verdicts ALTER COLUMN id SET DEFAULT nextval('verdicts_id_seq'::regclass);
ALTER TABLE ONLY versions ALTER COLUMN id SET DEFAULT nextval('versions_id_seq'::regclass);
INSERT INTO adapters VALUES ('sha256:715d4518bc02bf58dc351a54dc3a6c85111eec919e7b728c790ebdce6fab70d9', '{"digest": "sha256:715d4518bc02bf58dc351a54dc3a6c85111eec919e7b728c790ebdce6fab70d9", "base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "base_name": "clinic-base", "rank": 8, "alpha": 16.0, "use_rslora": false, "scale": 2.0, "target_modules": ["q_proj", "v_proj"], "parameters": 4096, "bytes": 8192, "data_digest": "sha256:519b3ed503c6a825347f28dfd269c0a422e3b923858410e3abbab2d2a99837f2", "code_revision": "", "config": {"name": "triage", "base": "clinic-base"}, "metrics": {"eval_loss": 0.2, "train_rows": 1200.0}, "golden": [{"prompt_ids": [1, 2, 3], "completion_ids": [4, 5], "adapter_logprobs": [-0.1, -0.2], "base_logprobs": [-2.0, -3.0]}], "created_at": "2026-11-01T09:00:00Z"}', '2026-11-01 09:00:00+00');
INSERT INTO alias_moves VALUES (1, 'triage', 'prod', '[{"number": 3, "weight": 1.0}]', false, NULL, '2026-11-26 22:10:14.366068+00');
INSERT INTO alias_moves VALUES (2, 'triage', 'prod', '[{"number": 5, "weight": 1.0}]', false, 1, '2026-11-26 22:10:14.373178+00');
INSERT INTO alias_moves VALUES (3, 'triage', 'prod', '[{"number": 2, "weight": 1.0}]', true, 2, '2026-11-26 22:10:14.379819+00');
INSERT INTO alias_moves VALUES (4, 'triage', 'prod', '[{"number": 3, "weight": 0.1}, {"number": 5, "weight": 0.9}]', false, 2, '2026-11-26 22:10:14.392431+00');
INSERT INTO alias_moves VALUES (5, 'triage', 'canary', '[{"number": 6, "weight": 1.0}]', false, NULL, '2026-11-26 22:10:14.398651+00');
INSERT INTO alias_policies VALUES (1, 'triage', 'prod', '{"canary": {"max_error_rate": 0.05, "max_ttft_ratio": null, "max_total_ratio": null, "guards": {"not_json": 0.1}, "answer_schema": null, "min_requests": 20, "window": 100, "false_alarm_every": 100000}, "shadow": {"version": 6, "share": 0.5, "record_bodies": false}}', '2026-11-26 22:10:14.403558+00');
INSERT INTO aliases VALUES ('triage', 'prod', 4);
INSERT INTO aliases VALUES ('triage', 'canary', 5);
INSERT INTO api_keys VALUES ('key-a17a84144a40', 'clinic-app', 'sha256:7de5f394a066922be9b9a324c9320159e10d3cee2114c4423049a5903b98b1ff', 'AAAA', 'caller', '["triage"]', '{"requests_per_minute": 600, "tokens_per_minute": null, "tokens_per_day": null}', '2026-11-26 22:10:14.406438+00', 'amal', NULL, NULL);
INSERT INTO api_keys VALUES ('key-246b698d9544', 'ops', 'sha256:78a74a4c4e9623fbbdce08a048d032305bcc363ffb693200cc4c7df1c132a235', 'BBBB', 'admin', '["*"]', '{"requests_per_minute": null, "tokens_per_minute": null, "tokens_per_day": null}', '2026-11-26 22:10:14.409502+00', 'amal', NULL, NULL);
INSERT INTO api_keys VALUES ('key-90c5f51a7ca5', 'old', 'sha256:f27fe3f37edf34a8629556bbde0445a96684d6782cd79560120d58aaeee0708b', 'CCCC', 'caller', '["*"]', '{"requests_per_minute": null, "tokens_per_minute": null, "tokens_per_day": null}', '2026-11-26 22:10:14.411316+00', 'amal', '2030-01-01 00:00:00+00', '2026-11-26 22:10:14.413154+00');
INSERT INTO audit VALUES (1, '2026-11-26 22:10:14.289907+00', 'dabt', 'adapter.add', 'sha256:715d4518bc02bf58dc351a54dc3a6c85111eec919e7b728c790ebdce6fab70d9', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "rank": 8}', '');
INSERT INTO audit VALUES (2, '2026-11-26 22:10:14.293892+00', 'amal', 'index.add', 'handbook', '{"digest": "sha256:9102bd3d7104473ddf4ede524a6d700c57913eb0386b1d901148adad207b6177"}', '');
INSERT INTO audit VALUES (3, '2026-11-26 22:10:14.298412+00', 'amal', 'version.create', 'triage:1', '{"digest": "sha256:38e91afd01f748d20f88b81a9868839d0997660f87ca7126f39dffc20856ebf5", "kind": "base", "source": "evaluation", "run": ""}', 'arm base of triage');
INSERT INTO audit VALUES (4, '2026-11-26 22:10:14.301366+00', 'amal', 'version.create', 'triage:2', '{"digest": "sha256:e15293e4fd7fea3ca2f5ec37b9b65b06ba28dced1418020d138889e1c9e062ed", "kind": "few-shot", "source": "evaluation", "run": ""}', '');
INSERT INTO audit VALUES (5, '2026-11-26 22:10:14.305134+00', 'سلمى', 'version.create', 'triage:3', '{"digest": "sha256:a509ef704a7dc63e6b705a28ad4b5a1a17b3a8f75d4fe3b23d893862d9a29f22", "kind": "adapter", "source": "training", "run": "triage-0123456789ab"}', 'تدريب أول');
INSERT INTO audit VALUES (6, '2026-11-26 22:10:14.308703+00', 'amal', 'version.create', 'triage:4', '{"digest": "sha256:5d2cc3861217822e696577f0c0ac2e038585f6aee528ea75ff59b66652504e42", "kind": "hybrid", "source": "evaluation", "run": ""}', '');
INSERT INTO audit VALUES (7, '2026-11-26 22:10:14.314184+00', 'amal', 'report.record', 'triage', '{"digest": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "arms": {"base": "triage:1", "few-shot": "triage:2", "adapter": "triage:3", "hybrid": "triage:4"}, "items": 200}', '');
INSERT INTO audit VALUES (8, '2026-11-26 22:10:14.316773+00', 'amal', 'version.state', 'triage:1', '{"from": "draft", "to": "evaluated", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640"}', '');
INSERT INTO audit VALUES (9, '2026-11-26 22:10:14.317692+00', 'amal', 'version.state', 'triage:2', '{"from": "draft", "to": "evaluated", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640"}', '');
INSERT INTO audit VALUES (10, '2026-11-26 22:10:14.318517+00', 'amal', 'version.state', 'triage:3', '{"from": "draft", "to": "evaluated", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640"}', '');
INSERT INTO audit VALUES (11, '2026-11-26 22:10:14.319363+00', 'amal', 'version.state', 'triage:4', '{"from": "draft", "to": "evaluated", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640"}', '');
INSERT INTO audit VALUES (12, '2026-11-26 22:10:14.323919+00', 'amal', 'verdict.record', 'triage:2', '{"verdict": "sha256:77b601c569b8f58bb78a4aefcbc09ee856ba550742d7f4c7e0c34a2be42b30dd", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": false}', '');
INSERT INTO audit VALUES (13, '2026-11-26 22:10:14.324707+00', 'amal', 'version.state', 'triage:2', '{"from": "evaluated", "to": "rejected", "verdict": "sha256:77b601c569b8f58bb78a4aefcbc09ee856ba550742d7f4c7e0c34a2be42b30dd", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738"}', '');
INSERT INTO audit VALUES (14, '2026-11-26 22:10:14.328364+00', 'amal', 'verdict.record', 'triage:3', '{"verdict": "sha256:1922cb3dfd5d24d86a9eb098397052c2b6b667a8b991bc78bea15b28a7659c76", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": true}', '');
INSERT INTO audit VALUES (15, '2026-11-26 22:10:14.329316+00', 'amal', 'version.state', 'triage:3', '{"from": "evaluated", "to": "approved", "verdict": "sha256:1922cb3dfd5d24d86a9eb098397052c2b6b667a8b991bc78bea15b28a7659c76", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738"}', '');
INSERT INTO audit VALUES (16, '2026-11-26 22:10:14.33279+00', 'amal', 'verdict.record', 'triage:4', '{"verdict": "sha256:ad69f663793917ddc46650e7d9f83c9344fd0644b88d9163664cfa8823ef26d5", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": false}', '');
INSERT INTO audit VALUES (17, '2026-11-26 22:10:14.333621+00', 'amal', 'version.state', 'triage:4', '{"from": "evaluated", "to": "rejected", "verdict": "sha256:ad69f663793917ddc46650e7d9f83c9344fd0644b88d9163664cfa8823ef26d5", "evaluation": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738"}', '');
INSERT INTO audit VALUES (18, '2026-11-26 22:10:14.336512+00', 'amal', 'version.create', 'triage:5', '{"digest": "sha256:c9b731c2b14f8856e2677838b838bcd29e06030a0d154cb58fbfea2a76070a07", "kind": "base", "source": "manual", "run": ""}', '');
INSERT INTO audit VALUES (19, '2026-11-26 22:10:14.339354+00', 'evals', 'report.record', 'triage', '{"digest": "sha256:497e54f2bf3fafe2cd994707fd49d18f096bfef28bd18ab81d122be49e9ca007", "arms": {"triage:5": "triage:5"}, "items": 200}', '');
INSERT INTO audit VALUES (20, '2026-11-26 22:10:14.34022+00', 'evals', 'version.state', 'triage:5', '{"from": "draft", "to": "evaluated", "evaluation": "sha256:497e54f2bf3fafe2cd994707fd49d18f096bfef28bd18ab81d122be49e9ca007"}', '');
INSERT INTO audit VALUES (21, '2026-11-26 22:10:14.344948+00', 'evals', 'verdict.record', 'triage:5', '{"verdict": "sha256:85150bcb5879d4807b85bd00797bcaecc6cbbf097d80ca5abb314177c2375dab", "evaluation": "sha256:497e54f2bf3fafe2cd994707fd49d18f096bfef28bd18ab81d122be49e9ca007", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": true}', '');
INSERT INTO audit VALUES (22, '2026-11-26 22:10:14.345779+00', 'evals', 'version.state', 'triage:5', '{"from": "evaluated", "to": "approved", "verdict": "sha256:85150bcb5879d4807b85bd00797bcaecc6cbbf097d80ca5abb314177c2375dab", "evaluation": "sha256:497e54f2bf3fafe2cd994707fd49d18f096bfef28bd18ab81d122be49e9ca007", "policy": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738"}', '');
INSERT INTO audit VALUES (23, '2026-11-26 22:10:14.348539+00', 'amal', 'version.create', 'triage:6', '{"digest": "sha256:41177f5f3c12d58607ddfb836e61353e6a0987de6088dc8563761488b3231259", "kind": "base", "source": "manual", "run": ""}', '');
INSERT INTO audit VALUES (24, '2026-11-26 22:10:14.35083+00', 'evals', 'report.record', 'triage', '{"digest": "sha256:a8a1705a1b381475a8f4d2afb47affa367cf9707bab9ef77ca84c1a6e151d2c8", "arms": {"triage:6": "triage:6"}, "items": 200}', '');
INSERT INTO audit VALUES (25, '2026-11-26 22:10:14.351576+00', 'evals', 'version.state', 'triage:6', '{"from": "draft", "to": "evaluated", "evaluation": "sha256:a8a1705a1b381475a8f4d2afb47affa367cf9707bab9ef77ca84c1a6e151d2c8"}', '');
INSERT INTO audit VALUES (26, '2026-11-26 22:10:14.354852+00', 'amal', 'version.create', 'triage:7', '{"digest": "sha256:f31e98978d345791bae4709025f5916446c3b623b803102efc1b65faed52c160", "kind": "base", "source": "manual", "run": ""}', '');
INSERT INTO audit VALUES (27, '2026-11-26 22:10:14.356963+00', 'amal', 'version.create', 'triage:8', '{"digest": "sha256:285680818fbbd08964aade6dd294ddfaca92d3ed9938ea11d781472ab97b4a33", "kind": "base", "source": "manual", "run": ""}', '');
INSERT INTO audit VALUES (28, '2026-11-26 22:10:14.361272+00', 'amal', 'version.state', 'triage:8', '{"from": "draft", "to": "retired"}', 'a slip');
INSERT INTO audit VALUES (29, '2026-11-26 22:10:14.367925+00', 'amal', 'alias.move', 'triage:prod', '{"from": {}, "to": {"triage:3": 1.0}}', 'passed the gate');
INSERT INTO audit VALUES (30, '2026-11-26 22:10:14.374676+00', 'سلمى', 'alias.move', 'triage:prod', '{"from": {"triage:3": 1.0}, "to": {"triage:5": 1.0}}', 'أفضل بالعربية');
INSERT INTO audit VALUES (31, '2026-11-26 22:10:14.380706+00', 'amal', 'alias.force', 'triage:prod', '{"from": {"triage:5": 1.0}, "to": {"triage:2": 1.0}, "overridden": ["the newest verdict on triage:2 did not pass (beats base: +0.950 [+0.910, +0.970] on fields over 200 items)"]}', 'outage of the adapter');
INSERT INTO audit VALUES (32, '2026-11-26 22:10:14.386958+00', 'amal', 'alias.rollback', 'triage:prod', '{"from": {"triage:2": 1.0}, "to": {"triage:5": 1.0}}', 'over');
INSERT INTO audit VALUES (33, '2026-11-26 22:10:14.393402+00', 'amal', 'alias.move', 'triage:prod', '{"from": {"triage:5": 1.0}, "to": {"triage:3": 0.1, "triage:5": 0.9}}', 'a canary');
INSERT INTO audit VALUES (34, '2026-11-26 22:10:14.399403+00', 'amal', 'alias.move', 'triage:canary', '{"from": {}, "to": {"triage:6": 1.0}}', 'try');
INSERT INTO audit VALUES (35, '2026-11-26 22:10:14.404659+00', 'amal', 'alias.policy', 'triage:prod', '{"from": {"canary": null, "shadow": null}, "to": {"canary": {"max_error_rate": 0.05, "max_ttft_ratio": null, "max_total_ratio": null, "guards": {"not_json": 0.1}, "answer_schema": null, "min_requests": 20, "window": 100, "false_alarm_every": 100000}, "shadow": {"version": 6, "share": 0.5, "record_bodies": false}}}', 'watch it');
INSERT INTO audit VALUES (36, '2026-11-26 22:10:14.408863+00', 'amal', 'key.create', 'key-a17a84144a40', '{"name": "clinic-app", "role": "caller", "models": ["triage"], "limits": {"requests_per_minute": 600}}', '');
INSERT INTO audit VALUES (37, '2026-11-26 22:10:14.410785+00', 'amal', 'key.create', 'key-246b698d9544', '{"name": "ops", "role": "admin", "models": ["*"], "limits": {}}', '');
INSERT INTO audit VALUES (38, '2026-11-26 22:10:14.412642+00', 'amal', 'key.create', 'key-90c5f51a7ca5', '{"name": "old", "role": "caller", "models": ["*"], "limits": {}, "expires_at": "2030-01-01T00:00:00Z"}', '');
INSERT INTO audit VALUES (39, '2026-11-26 22:10:14.41473+00', 'amal', 'key.revoke', 'key-90c5f51a7ca5', '{"name": "old"}', 'left the team');
INSERT INTO canary_outcomes VALUES (1, 'sha256:814446f3443d7c99b50a3e1aea4ed6f01d7aa4f2c70a59154c8a3ce3e0bf34c9', 'service-1', '[["triage:3", 1, 0.2]]', '2026-11-26 22:10:14.41881+00');
INSERT INTO dabt_meta VALUES ('schema', '4');
INSERT INTO indexes VALUES (1, 'handbook', 'sha256:9102bd3d7104473ddf4ede524a6d700c57913eb0386b1d901148adad207b6177', '{"documents": 12, "passages": 73}', '2026-11-26 22:10:14.292818+00');
INSERT INTO key_usage VALUES ('key-a17a84144a40', '2026-11-01', 'triage:3', 7, 700, 70);
INSERT INTO reports VALUES (1, 'sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640', 'triage', '{"task": "triage", "task_digest": "sha256:b9ce06a01002b74d199af6ebe3f5fb94ceba07ec633822e44fec47b29b9edb7d", "base": "clinic-base", "metric": "fields", "safety_metric": "escalation_recall", "arms": [{"arm": "base", "ref": "triage:1", "version_digest": "sha256:38e91afd01f748d20f88b81a9868839d0997660f87ca7126f39dffc20856ebf5", "metrics": {"fields": {"value": 0.0, "low": 0.0, "high": 0.02, "n": 200}, "escalation_recall": {"value": 1.0, "low": 0.89, "high": 1.0, "n": 31}}, "latency_p50": 0.1, "latency_p95": 0.2, "prompt_tokens": 80.0, "completion_tokens": 20.0, "errors": 0}, {"arm": "few-shot", "ref": "triage:2", "version_digest": "sha256:e15293e4fd7fea3ca2f5ec37b9b65b06ba28dced1418020d138889e1c9e062ed", "metrics": {"fields": {"value": 0.1, "low": 0.06, "high": 0.15, "n": 200}, "escalation_recall": {"value": 1.0, "low": 0.89, "high": 1.0, "n": 31}}, "latency_p50": 0.1, "latency_p95": 0.2, "prompt_tokens": 80.0, "completion_tokens": 20.0, "errors": 0}, {"arm": "adapter", "ref": "triage:3", "version_digest": "sha256:a509ef704a7dc63e6b705a28ad4b5a1a17b3a8f75d4fe3b23d893862d9a29f22", "metrics": {"fields": {"value": 0.95, "low": 0.91, "high": 0.97, "n": 200}, "escalation_recall": {"value": 1.0, "low": 0.89, "high": 1.0, "n": 31}}, "latency_p50": 0.1, "latency_p95": 0.2, "prompt_tokens": 80.0, "completion_tokens": 20.0, "errors": 0}, {"arm": "hybrid", "ref": "triage:4", "version_digest": "sha256:5d2cc3861217822e696577f0c0ac2e038585f6aee528ea75ff59b66652504e42", "metrics": {"fields": {"value": 0.67, "low": 0.6, "high": 0.73, "n": 200}, "escalation_recall": {"value": 1.0, "low": 0.89, "high": 1.0, "n": 31}}, "latency_p50": 0.1, "latency_p95": 0.2, "prompt_tokens": 80.0, "completion_tokens": 20.0, "errors": 0}], "comparisons": [{"arm": "adapter", "against": "base", "metric": "fields", "delta": 0.95, "low": 0.91, "high": 0.97, "p_value": 1e-50, "p_adjusted": 6e-50, "test": "mcnemar-exact", "n": 200}, {"arm": "hybrid", "against": "adapter", "metric": "fields", "delta": -0.28, "low": -0.35, "high": -0.21, "p_value": 1e-12, "p_adjusted": 2e-12, "test": "mcnemar-exact", "n": 200}], "noise_floor": 0.02, "n_items": 200, "n_train": 1200, "seed": 17, "advice": ["Ship adapter (triage:3)."], "examples": [{"item": "t-1", "question": "ألم في الصدر", "target": "{\"urgency\": \"emergency\"}", "answers": {"base": "?", "adapter": "{\"urgency\": \"emergency\"}"}, "scores": {"base": 0.0, "adapter": 1.0}}], "created_at": "2026-11-01T09:00:00Z"}');
INSERT INTO reports VALUES (2, 'sha256:497e54f2bf3fafe2cd994707fd49d18f096bfef28bd18ab81d122be49e9ca007', 'triage', '{"task": "triage", "task_digest": "sha256:b9ce06a01002b74d199af6ebe3f5fb94ceba07ec633822e44fec47b29b9edb7d", "base": "clinic-base", "metric": "accuracy", "safety_metric": null, "arms": [{"arm": "triage:5", "ref": "triage:5", "version_digest": "sha256:c9b731c2b14f8856e2677838b838bcd29e06030a0d154cb58fbfea2a76070a07", "metrics": {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.94, "n": 200}}, "latency_p50": 0.1, "latency_p95": 0.2, "prompt_tokens": 80.0, "completion_tokens": 20.0, "errors": 0}], "comparisons": [], "noise_floor": 0.0, "n_items": 200, "n_train": null, "seed": 0, "advice": [], "examples": [], "created_at": "2026-01-01T00:00:00Z"}');
INSERT INTO reports VALUES (3, 'sha256:a8a1705a1b381475a8f4d2afb47affa367cf9707bab9ef77ca84c1a6e151d2c8', 'triage', '{"task": "triage", "task_digest": "sha256:b9ce06a01002b74d199af6ebe3f5fb94ceba07ec633822e44fec47b29b9edb7d", "base": "clinic-base", "metric": "accuracy", "safety_metric": null, "arms": [{"arm": "triage:6", "ref": "triage:6", "version_digest": "sha256:41177f5f3c12d58607ddfb836e61353e6a0987de6088dc8563761488b3231259", "metrics": {"accuracy": {"value": 0.9, "low": 0.85, "high": 0.94, "n": 200}}, "latency_p50": 0.1, "latency_p95": 0.2, "prompt_tokens": 80.0, "completion_tokens": 20.0, "errors": 0}], "comparisons": [], "noise_floor": 0.0, "n_items": 200, "n_train": null, "seed": 0, "advice": [], "examples": [], "created_at": "2026-01-01T00:00:00Z"}');
INSERT INTO verdicts VALUES (1, 'sha256:77b601c569b8f58bb78a4aefcbc09ee856ba550742d7f4c7e0c34a2be42b30dd', 2, 'sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640', false, '{"ref": "triage:2", "version_digest": "sha256:e15293e4fd7fea3ca2f5ec37b9b65b06ba28dced1418020d138889e1c9e062ed", "evaluation_digest": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy_digest": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": false, "checks": [{"rule": "beats base", "passed": false, "detail": "+0.950 [+0.910, +0.970] on fields over 200 items"}, {"rule": "items", "passed": true, "detail": "200 items; at least 100 are asked for"}], "created_at": "2026-11-01T09:00:00Z"}');
INSERT INTO verdicts VALUES (2, 'sha256:1922cb3dfd5d24d86a9eb098397052c2b6b667a8b991bc78bea15b28a7659c76', 3, 'sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640', true, '{"ref": "triage:3", "version_digest": "sha256:a509ef704a7dc63e6b705a28ad4b5a1a17b3a8f75d4fe3b23d893862d9a29f22", "evaluation_digest": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy_digest": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": true, "checks": [{"rule": "beats base", "passed": true, "detail": "+0.950 [+0.910, +0.970] on fields over 200 items"}, {"rule": "items", "passed": true, "detail": "200 items; at least 100 are asked for"}], "created_at": "2026-11-01T09:00:00Z"}');
INSERT INTO verdicts VALUES (3, 'sha256:ad69f663793917ddc46650e7d9f83c9344fd0644b88d9163664cfa8823ef26d5', 4, 'sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640', false, '{"ref": "triage:4", "version_digest": "sha256:5d2cc3861217822e696577f0c0ac2e038585f6aee528ea75ff59b66652504e42", "evaluation_digest": "sha256:e1a945e74d0cd0048b28b912b2b71f6e5685430655e674b4e081d08520405640", "policy_digest": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": false, "checks": [{"rule": "beats base", "passed": false, "detail": "+0.950 [+0.910, +0.970] on fields over 200 items"}, {"rule": "items", "passed": true, "detail": "200 items; at least 100 are asked for"}], "created_at": "2026-11-01T09:00:00Z"}');
INSERT INTO verdicts VALUES (4, 'sha256:85150bcb5879d4807b85bd00797bcaecc6cbbf097d80ca5abb314177c2375dab', 5, 'sha256:497e54f2bf3fafe2cd994707fd49d18f096bfef28bd18ab81d122be49e9ca007', true, '{"ref": "triage:5", "version_digest": "sha256:c9b731c2b14f8856e2677838b838bcd29e06030a0d154cb58fbfea2a76070a07", "evaluation_digest": "sha256:497e54f2bf3fafe2cd994707fd49d18f096bfef28bd18ab81d122be49e9ca007", "policy_digest": "sha256:17ad92e63c962393c0329c658937d16eccaea13036412a3d1d0a5b6b8f29d738", "passed": true, "checks": [{"rule": "beats base", "passed": true, "detail": "0.90 against 0.50"}], "created_at": "2026-01-01T00:00:00Z"}');
INSERT INTO versions VALUES (1, 'triage', 1, 'sha256:38e91afd01f748d20f88b81a9868839d0997660f87ca7126f39dffc20856ebf5', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": null, "prompt": {"system": "أنت مساعد العيادة.", "shots": []}, "knowledge": null, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": null, "stop": []}}', 'evaluated', '{"source": "evaluation", "run": "", "data_digest": "", "code_revision": "", "note": "arm base of triage"}', '2026-11-26 22:10:14.297193+00', 'amal');
INSERT INTO versions VALUES (5, 'triage', 5, 'sha256:c9b731c2b14f8856e2677838b838bcd29e06030a0d154cb58fbfea2a76070a07', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": null, "prompt": {"system": "prompt two", "shots": []}, "knowledge": null, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": null, "stop": []}}', 'approved', '{"source": "manual", "run": "", "data_digest": "", "code_revision": "", "note": ""}', '2026-11-26 22:10:14.335911+00', 'amal');
INSERT INTO versions VALUES (2, 'triage', 2, 'sha256:e15293e4fd7fea3ca2f5ec37b9b65b06ba28dced1418020d138889e1c9e062ed', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": null, "prompt": {"system": "أنت مساعد العيادة.", "shots": [{"user": "ألم في الصدر", "assistant": "{\"urgency\": \"emergency\"}"}]}, "knowledge": null, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": null, "stop": []}}', 'rejected', '{"source": "evaluation", "run": "", "data_digest": "", "code_revision": "", "note": ""}', '2026-11-26 22:10:14.300744+00', 'amal');
INSERT INTO versions VALUES (3, 'triage', 3, 'sha256:a509ef704a7dc63e6b705a28ad4b5a1a17b3a8f75d4fe3b23d893862d9a29f22', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": "sha256:715d4518bc02bf58dc351a54dc3a6c85111eec919e7b728c790ebdce6fab70d9", "prompt": {"system": "أنت مساعد العيادة.", "shots": []}, "knowledge": null, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": 128, "stop": ["\n\n"]}}', 'approved', '{"source": "training", "run": "triage-0123456789ab", "data_digest": "sha256:519b3ed503c6a825347f28dfd269c0a422e3b923858410e3abbab2d2a99837f2", "code_revision": "522bfac", "note": "تدريب أول"}', '2026-11-26 22:10:14.304582+00', 'سلمى');
INSERT INTO versions VALUES (4, 'triage', 4, 'sha256:5d2cc3861217822e696577f0c0ac2e038585f6aee528ea75ff59b66652504e42', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": "sha256:715d4518bc02bf58dc351a54dc3a6c85111eec919e7b728c790ebdce6fab70d9", "prompt": {"system": "أنت مساعد العيادة.", "shots": []}, "knowledge": {"index": "sha256:9102bd3d7104473ddf4ede524a6d700c57913eb0386b1d901148adad207b6177", "top_k": 4, "template": "Passages:\n{passages}\n\nQuestion: {question}", "arabic_template": null}, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": null, "stop": []}}', 'rejected', '{"source": "evaluation", "run": "", "data_digest": "", "code_revision": "", "note": ""}', '2026-11-26 22:10:14.308149+00', 'amal');
INSERT INTO versions VALUES (6, 'triage', 6, 'sha256:41177f5f3c12d58607ddfb836e61353e6a0987de6088dc8563761488b3231259', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": null, "prompt": {"system": "prompt three", "shots": []}, "knowledge": null, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": null, "stop": []}}', 'evaluated', '{"source": "manual", "run": "", "data_digest": "", "code_revision": "", "note": ""}', '2026-11-26 22:10:14.347917+00', 'amal');
INSERT INTO versions VALUES (7, 'triage', 7, 'sha256:f31e98978d345791bae4709025f5916446c3b623b803102efc1b65faed52c160', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": null, "prompt": {"system": "prompt four", "shots": []}, "knowledge": null, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": null, "stop": []}}', 'draft', '{"source": "manual", "run": "", "data_digest": "", "code_revision": "", "note": ""}', '2026-11-26 22:10:14.35435+00', 'amal');
INSERT INTO versions VALUES (8, 'triage', 8, 'sha256:285680818fbbd08964aade6dd294ddfaca92d3ed9938ea11d781472ab97b4a33', '{"base": "sha256:751bbc009e4ccaff946a3bc62bf453a7b95af64a0e55530e8f1f4d031fa41822", "adapter": null, "prompt": {"system": "prompt five", "shots": []}, "knowledge": null, "decoding": {"temperature": 0.0, "top_p": 1.0, "max_tokens": null, "stop": []}}', 'retired', '{"source": "manual", "run": "", "data_digest": "", "code_revision": "", "note": ""}', '2026-11-26 22:10:14.356514+00', 'amal');
SELECT pg_catalog.setval('alias_moves_id_seq', 5, true);
SELECT pg_catalog.setval('alias_policies_id_seq', 1, true);
SELECT pg_catalog.setval('audit_id_seq', 39, true);
SELECT pg_catalog.setval('canary_outcomes_id_seq', 1, true);
SELECT pg_catalog.setval('indexes_id_seq', 1, true);
SELECT pg_catalog.setval('reports_id_seq', 3, true);
SELECT pg_catalog.setval('verdicts_id_seq', 4, true);
SELECT pg_catalog.setval('versions_id_seq', 8, true);
ALTER TABLE ONLY adapters
    ADD CONSTRAINT adapters_pkey PRIMARY KEY (digest);
ALTER TABLE ONLY alias_moves
    ADD CONSTRAINT alias_moves_pkey PRIMARY KEY (id);
ALTER TABLE ONLY alias_policies
    ADD CONSTRAINT alias_policies_pkey PRIMARY KEY (id);
ALTER TABLE ONLY aliases
    ADD CONSTRAINT aliases_pkey PRIMARY KEY (name, alias);
ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_digest_key UNIQUE (digest);
ALTER TABLE ONLY api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE ONLY canary_outcomes
    ADD CONSTRAINT canary_outcomes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY dabt_meta
    ADD CONSTRAINT dabt_meta_pkey PRIMARY KEY (key);
ALTER TABLE ONLY indexes
    ADD CONSTRAINT indexes_pkey PRIMARY KEY (id);
ALTER TABLE ONLY key_usage
    ADD CONSTRAINT key_usage_pkey PRIMARY KEY (key, day, version);
ALTER TABLE ONLY versions
    ADD CONSTRAINT one_version_a_number UNIQUE (name, number);
ALTER TABLE ONLY versions
    ADD CONSTRAINT one_version_a_recipe UNIQUE (name, digest);
ALTER TABLE ONLY reports
    ADD CONSTRAINT reports_digest_key UNIQUE (digest);
ALTER TABLE ONLY reports
    ADD CONSTRAINT reports_pkey PRIMARY KEY (id);
ALTER TABLE ONLY verdicts
    ADD CONSTRAINT verdicts_digest_key UNIQUE (digest);
ALTER TABLE ONLY verdicts
    ADD CONSTRAINT verdicts_pkey PRIMARY KEY (id);
ALTER TABLE ONLY versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (id);
CREATE INDEX ix_api_keys_name ON api_keys USING btree (name);
CREATE INDEX ix_audit_subject ON audit USING btree (subject);
CREATE INDEX ix_canary_outcomes_told_at ON canary_outcomes USING btree (told_at);
CREATE INDEX ix_indexes_digest ON indexes USING btree (digest);
CREATE INDEX ix_indexes_name ON indexes USING btree (name);
CREATE INDEX ix_reports_task ON reports USING btree (task);
CREATE INDEX ix_verdicts_version_id ON verdicts USING btree (version_id);
CREATE INDEX moves_of_an_alias ON alias_moves USING btree (name, alias);
CREATE INDEX outcomes_of_a_trial ON canary_outcomes USING btree (trial, id);
CREATE INDEX policies_of_an_alias ON alias_policies USING btree (name, alias);
CREATE INDEX usage_of_a_day ON key_usage USING btree (day);
ALTER TABLE ONLY alias_moves
    ADD CONSTRAINT alias_moves_replaced_fkey FOREIGN KEY (replaced) REFERENCES alias_moves(id);
ALTER TABLE ONLY aliases
    ADD CONSTRAINT aliases_move_fkey FOREIGN KEY (move) REFERENCES alias_moves(id);
ALTER TABLE ONLY verdicts
    ADD CONSTRAINT verdicts_evaluation_digest_fkey FOREIGN KEY (evaluation_digest) REFERENCES reports(digest);
ALTER TABLE ONLY verdicts
    ADD CONSTRAINT verdicts_version_id_fkey FOREIGN KEY (version_id) REFERENCES versions(id);

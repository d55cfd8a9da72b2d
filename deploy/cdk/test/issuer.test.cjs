// What is in the template of an issuer, and what is not.
const { Duration, RemovalPolicy } = require("aws-cdk-lib");
const { Match } = require("aws-cdk-lib/assertions");
const { HttpApi, HttpMethod } = require("aws-cdk-lib/aws-apigatewayv2");
const { HttpUrlIntegration } = require("aws-cdk-lib/aws-apigatewayv2-integrations");
const { Topic } = require("aws-cdk-lib/aws-sns");
const assert = require("node:assert/strict");
const { mkdtempSync, readFileSync, statSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { test } = require("node:test");
const { CountersignIssuer, CountersignJwtAuthorizer } = require("../lib");
const { actions, code, stack, statements, zip } = require("./app.cjs");

const issuer = (props = {}, context) =>
  stack((one) => new CountersignIssuer(one, "Issuer", { code, ...props }), context);
const variables = (template, description) =>
  Object.values(template.findResources("AWS::Lambda::Function"))
    .find((one) => one.Properties.Description === description).Properties.Environment.Variables;
/** What uses a key, or lets somebody use it without a change of its policy. */
const USES_OF_A_KEY = [
  "Decrypt", "Encrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "GenerateDataKeyPair",
  "GenerateDataKeyPairWithoutPlaintext", "Sign", "GenerateMac", "DeriveSharedSecret", "CreateGrant", "ReplicateKey", "ImportKeyMaterial",
].map((one) => `kms:${one}`);
/** Whether IAM takes an action of a policy for this one: with wildcards, in upper or lower case. */
const takes = (action, one) => new RegExp(`^${action.replaceAll("?", ".").replaceAll("*", ".*")}$`, "i").test(one);
const HANDLER = "Countersign: the issuer";
const ROTATION = "Countersign: the rotation of the issuer's keys";

test("the table outlives the stack, is protected, and forgets what has expired", () => {
  const { template } = issuer();
  template.hasResource("AWS::DynamoDB::Table", {
    DeletionPolicy: "Retain",
    Properties: {
      BillingMode: "PAY_PER_REQUEST",
      DeletionProtectionEnabled: true,
      KeySchema: [{ AttributeName: "key", KeyType: "HASH" }],
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      TimeToLiveSpecification: { AttributeName: "ttl", Enabled: true },
    },
  });
  const kept = issuer({ removalPolicy: RemovalPolicy.DESTROY });
  kept.template.hasResource("AWS::DynamoDB::Table", {
    DeletionPolicy: "Delete", Properties: { DeletionProtectionEnabled: false },
  });
});

test("no role may do more than its function does", () => {
  const { template } = issuer({ settings: { rings: { default: { signer: "kms" } } }, documents: true });
  const may = (role) => new Set(statements(template, role).flatMap(actions));
  const table = ["DescribeTable", "GetItem", "PutItem", "DeleteItem", "Scan"].map((one) => `dynamodb:${one}`);
  const log = ["logs:CreateLogStream", "logs:PutLogEvents"];
  assert.deepEqual(may("IssuerHandlerRole"), new Set([...log, ...table, "kms:Decrypt", "kms:Sign"]));
  assert.deepEqual(may("IssuerRotationRole"), new Set([
    ...log, ...table, "kms:Decrypt", "kms:GenerateDataKey", "kms:Sign", "kms:GetPublicKey", "kms:CreateKey",
    "kms:TagResource", "kms:ScheduleKeyDeletion", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket",
    "cloudfront:CreateInvalidation", "cloudfront:GetInvalidation",
  ]));
  assert.deepEqual(may("IssuerFirstTurnHandlerRole"), new Set([...log, "lambda:InvokeFunction"]));
  const wide = ["IssuerHandlerRole", "IssuerRotationRole", "IssuerFirstTurnHandlerRole"]
    .flatMap((role) => statements(template, role)).filter((one) => one.Resource === "*");
  assert.deepEqual(wide.map(actions), [["kms:CreateKey", "kms:TagResource"]]);
  template.resourcePropertiesCountIs("AWS::IAM::Role", { ManagedPolicyArns: Match.anyValue() }, 0);
});

test("KMS keys are made and used under the issuer's tag alone", () => {
  const { template } = issuer({ issuerUrl: "https://auth.example.com", kmsSigners: true });
  const tagged = statements(template, "IssuerRotationRole").filter((one) => actions(one).some((a) => /Sign|CreateKey|Deletion/.test(a)));
  const tag = (where) => ({ StringEquals: { [`aws:${where}/countersign-issuer`]: "https://auth.example.com" } });
  assert.deepEqual(tagged.map((one) => one.Condition), [tag("ResourceTag"), tag("RequestTag"), tag("ResourceTag")]);
  const { template: local } = issuer();
  assert.ok(!JSON.stringify(local.toJSON()).includes("kms:Sign"));
});

test("keys with replicas are used and given up in every region, and replicated by who makes them", () => {
  const ring = (regions) => ({ settings: { rings: { default: { signer: "kms", kms_replicas: regions } } } });
  const { template } = issuer({ issuerUrl: "https://auth.example.com", ...ring(["us-east-2"]) });
  const replicating = /ReplicateKey|DescribeKey|ServiceLinkedRole/;
  const of = (role) => statements(template, role).filter((one) => actions(one).some((a) => replicating.test(a)));
  assert.deepEqual(of("IssuerHandlerRole"), []);
  assert.deepEqual(of("IssuerRotationRole").map((one) => [actions(one), one.Condition]), [
    [
      ["kms:ScheduleKeyDeletion", "kms:ReplicateKey", "kms:DescribeKey"],
      { StringEquals: { "aws:ResourceTag/countersign-issuer": "https://auth.example.com" } },
    ],
    [["iam:CreateServiceLinkedRole"], { StringEquals: { "iam:AWSServiceName": "mrk.kms.amazonaws.com" } }],
  ]);
  const keys = ["IssuerHandlerRole", "IssuerRotationRole"].flatMap((role) => statements(template, role))
    .filter((one) => actions(one).some((a) => /Sign$|Deletion/.test(a)));
  assert.equal(keys.length, 3);
  for (const one of keys) assert.match(JSON.stringify(one.Resource), /:kms:\*:/);
  for (const props of [ring([]), { kmsSigners: true }]) {
    const { template: one } = issuer({ issuerUrl: "https://auth.example.com", ...props });
    assert.doesNotMatch(JSON.stringify(one.toJSON()), /ReplicateKey|:kms:\*:|ServiceLinkedRole/);
  }
});

test("the sealing key is opened by the two roles and administered by the account", () => {
  const { template } = issuer();
  const [key] = Object.values(template.findResources("AWS::KMS::Key"));
  const [root, ...roles] = key.Properties.KeyPolicy.Statement;
  const administered = actions(root).flatMap((one) => USES_OF_A_KEY.filter((use) => takes(one, use)).map((use) => `${one} is ${use}`));
  assert.deepEqual(administered, [], "who administers it can neither use it nor let anybody use it, but by a change of its policy");
  assert.deepEqual(roles.map(actions), [["kms:Decrypt"], ["kms:Decrypt", "kms:GenerateDataKey"]]);
  const purpose = { StringEquals: { "kms:EncryptionContext:purpose": "countersign-sealing" } };
  assert.deepEqual(roles.map((one) => one.Condition), [purpose, purpose]);
  const identity = statements(template, "IssuerHandlerRole").filter((one) => actions(one)[0] === "kms:Decrypt");
  assert.deepEqual(identity.map((one) => one.Condition), [purpose]);
});

test("no role may grant a key, by its name or by a wildcard", () => {
  const { template } = issuer({ settings: { rings: { default: { signer: "kms", kms_replicas: ["us-east-2"] } } }, documents: true });
  const policies = Object.values(template.findResources("AWS::IAM::Policy")).flatMap((one) => one.Properties.PolicyDocument.Statement);
  const keys = Object.values(template.findResources("AWS::KMS::Key")).flatMap((one) => one.Properties.KeyPolicy.Statement);
  assert.ok(policies.length > 5 && keys.length > 2);
  assert.deepEqual([...policies, ...keys].flatMap(actions).filter((one) => takes(one, "kms:CreateGrant")), []);
});

test("only the rotation makes the first keys, and only the deployment and the schedule invoke it", () => {
  const { template } = issuer();
  assert.equal(variables(template, ROTATION).COUNTERSIGN_STORE__FIRST_KEYS, '"create"');
  assert.equal(variables(template, HANDLER).COUNTERSIGN_STORE__FIRST_KEYS, undefined);
  const permissions = Object.values(template.findResources("AWS::Lambda::Permission")).map((one) => one.Properties);
  assert.deepEqual(permissions.map((one) => one.Principal).sort(), ["apigateway.amazonaws.com", "events.amazonaws.com"]);
  assert.ok(permissions.every((one) => one.SourceArn), "each by its ARN");
  const { template: copied } = issuer({ firstKeys: "refuse" });
  assert.equal(variables(copied, ROTATION).COUNTERSIGN_STORE__FIRST_KEYS, '"refuse"');
});

test("settings become variables as TOML has them", () => {
  const { template } = issuer({
    issuerUrl: "https://auth.example.com",
    rotateEvery: Duration.minutes(10),
    settings: {
      clients: [{ id: "a\"b", max_lifetime: "1h", scopes: ["x", "y"], claims: { fixed: { "a b": 1, c: true } } }],
      store: { refresh: "10s" },
    },
  });
  const made = variables(template, HANDLER);
  assert.equal(made.COUNTERSIGN_ISSUER, '"https://auth.example.com"');
  assert.equal(made.COUNTERSIGN_STORE__REFRESH, '"10s"');
  assert.equal(made.COUNTERSIGN_ROTATION__OBSERVE_EVERY, '"600s"');
  assert.equal(
    made.COUNTERSIGN_CLIENTS,
    '[{ id = "a\\"b", max_lifetime = "1h", scopes = ["x", "y"], claims = { fixed = { "a b" = 1, c = true } } }]',
  );
});

test("secrets come as references, which the roles may read, and never into the template", () => {
  const refused = /has a secret in it/;
  assert.throws(() => issuer({ environment: { PRIVATE_KEY: "-----BEGIN PRIVATE KEY-----\\nMII…" } }), refused);
  assert.throws(() => issuer({ settings: { clients: [{ id: "a", secret: "cssec_abc" }] } }), refused);
  const { template } = issuer({
    environment: { PRIVATE_KEY: "ssm:/jaas/key" },
    settings: { sealing: { key: "secretsmanager:countersign/seal#key" } },
  });
  const read = statements(template, "IssuerHandlerRole").filter((one) => /ssm|secrets/.test(actions(one)[0]));
  const end = (one) => one.Resource["Fn::Join"][1].at(-1);
  assert.deepEqual(read.map((one) => [one.Action, end(one)]), [
    ["ssm:GetParameter", ":parameter/jaas/key"],
    ["secretsmanager:GetSecretValue", ":secret:countersign/seal-??????"],
  ]);
});

test("settings that do not fit into variables are refused with the way out", () => {
  const clients = Array.from({ length: 60 }, (_, n) => ({ id: `client-${n}`, secret_hashes: ["sha256:".padEnd(50, "x")] }));
  assert.throws(() => issuer({ settings: { clients } }), /may have 4096: put them into a file and give it as configFile/);
});

test("a configuration file is put beside the bootstrap", () => {
  const file = join(mkdtempSync(join(tmpdir(), "countersign-test-")), "mine.toml");
  writeFileSync(file, 'issuer = "https://auth.example.com"\n');
  const { stack: one } = issuer({ configFile: file });
  const assembly = one.node.root.synth();
  const assets = assembly.artifacts.find((artifact) => artifact.contents).contents.files;
  const [packaged] = Object.values(assets).filter((asset) => asset.source.packaging === "zip");
  const folder = join(assembly.directory, packaged.source.path);
  assert.equal(readFileSync(join(folder, "countersign.toml"), "utf8"), 'issuer = "https://auth.example.com"\n');
  assert.equal(readFileSync(join(folder, "bootstrap"), "utf8"), "#!/bin/sh\n");
  assert.equal(statSync(join(folder, "bootstrap")).mode & 0o777, 0o755);
  assert.throws(() => issuer({ entry: "function-url", configFile: file }), /takes settings and no configFile/);
  assert.throws(() => issuer({ code: zip("countersign", "") }), /has no file "bootstrap"/);
});

test("a function URL's issuer is in a parameter that the function is told the name of", () => {
  const { template } = issuer({ entry: "function-url" });
  const [parameter] = Object.values(template.findResources("AWS::SSM::Parameter"));
  assert.equal(variables(template, HANDLER).COUNTERSIGN_CONFIG, `ssm:${parameter.Properties.Name}`);
  assert.equal(variables(template, HANDLER).COUNTERSIGN_ISSUER, undefined);
  const [first, url, last] = [parameter.Properties.Value["Fn::Join"][1].at(0), null, parameter.Properties.Value["Fn::Join"][1].at(-1)];
  assert.equal(url, null);
  assert.deepEqual([first, last], ['issuer = "https://', '"\n']);
});

test("a REST API's issuer has its stage, and none of the entries needs a second deployment", () => {
  for (const entry of ["http-api", "rest-api", "function-url"]) {
    for (const documents of entry === "function-url" ? [false] : [false, true]) issuer({ entry, documents });
  }
  const { template } = issuer({ entry: "rest-api", stageName: "live" });
  assert.equal(variables(template, HANDLER).COUNTERSIGN_ISSUER["Fn::Join"][1].at(-1), '/live"');
  assert.throws(() => issuer({ entry: "function-url", documents: true }), /need an API in front/);
});

test("the gateway's JWT authorizer is created after the issuer has answered", () => {
  const { template } = stack((one) => {
    const made = new CountersignIssuer(one, "Issuer", { code });
    new HttpApi(one, "Api").addRoutes({
      path: "/orders",
      methods: [HttpMethod.GET],
      integration: new HttpUrlIntegration("Orders", "https://orders.example.com"),
      authorizer: new CountersignJwtAuthorizer("Jwt", made, { audiences: ["api://orders"] }),
    });
  });
  const [authorizer] = Object.values(template.findResources("AWS::ApiGatewayV2::Authorizer"));
  const [turn] = Object.keys(template.findResources("Custom::CountersignFirstTurn"));
  assert.deepEqual(authorizer.DependsOn, [turn]);
  const waits = template.findResources("Custom::CountersignFirstTurn")[turn].DependsOn;
  for (const type of ["AWS::ApiGatewayV2::Route", "AWS::ApiGatewayV2::Stage", "AWS::Lambda::Permission"]) {
    const [id] = Object.keys(template.findResources(type));
    assert.ok(waits.some((one) => Object.keys(template.findResources(type)).includes(one)), `${type} ${id}`);
  }
  const { template: domain } = issuer({ issuerUrl: "https://auth.example.com" });
  domain.hasResourceProperties("Custom::CountersignFirstTurn", { Discovery: "" });
});

test("alarms tell a topic", () => {
  const { template } = stack((one) => {
    const alarmTopic = new Topic(one, "Alarms");
    return new CountersignIssuer(one, "Issuer", { code, alarmTopic, rotateEvery: Duration.minutes(10) });
  });
  const alarms = Object.values(template.findResources("AWS::CloudWatch::Alarm")).map((one) => one.Properties);
  assert.equal(alarms.length, 6);
  assert.ok(alarms.every((one) => one.AlarmActions.length === 1));
  template.hasResourceProperties("AWS::CloudWatch::Alarm", {
    MetricName: "Invocations", Period: 600, TreatMissingData: "breaching", ComparisonOperator: "LessThanThreshold",
  });
  issuer({ alarms: false }).template.resourceCountIs("AWS::CloudWatch::Alarm", 0);
});

test("documents are private in their bucket, and CloudFront is the issuer's address", () => {
  const { template } = issuer({ documents: true });
  template.hasResourceProperties("AWS::S3::Bucket", {
    PublicAccessBlockConfiguration: { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true },
  });
  const [distribution] = Object.keys(template.findResources("AWS::CloudFront::Distribution"));
  const said = JSON.stringify(variables(template, HANDLER).COUNTERSIGN_ISSUER);
  assert.ok(said.includes(distribution), said);
  assert.ok(JSON.stringify(variables(template, ROTATION).COUNTERSIGN_PUBLISH__TARGET).includes("s3://"));
  assert.equal(variables(template, HANDLER).COUNTERSIGN_PUBLISH__TARGET, undefined);
});

test("CloudFront asks the API for what publish does not write, and keeps none of it", () => {
  for (const entry of ["http-api", "rest-api"]) {
    const { template } = issuer({ documents: true, entry });
    const [{ Properties: { DistributionConfig: config } }] = Object.values(template.findResources("AWS::CloudFront::Distribution"));
    const bucket = config.Origins.find((one) => one.S3OriginConfig).Id;
    assert.equal(config.Origins.length, 2);
    // The first behavior that fits a path is the one, and `*` stands for slashes too.
    const behavior = (path) =>
      config.CacheBehaviors.find((one) => takes(one.PathPattern.replace(/^\/?/, "/"), path)) ?? config.DefaultCacheBehavior;
    const published = [
      "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json",
      "/.well-known/jwks-rsa.json", "/.well-known/x509.json", "/public-keys", "/asap/1f.pem",
    ];
    for (const path of published) assert.equal(behavior(path).TargetOriginId, bucket, path);
    const answered = [
      "/.well-known/revoked.jwt", "/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/v1",
      "/auth/.well-known/revoked.jwt", "/token", "/sign", "/revoke", "/introspect", "/authorize", "/readyz",
    ];
    for (const path of answered) {
      const found = behavior(path);
      assert.notEqual(found.TargetOriginId, bucket, path);
      // AWS's CachingDisabled, and AllViewerExceptHostHeader, without which API Gateway says 403.
      assert.equal(found.CachePolicyId, "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", path);
      assert.equal(found.OriginRequestPolicyId, "b689b0a8-53d0-40ab-baf2-68738e2966ac", path);
    }
  }
});

test("an emulator is given by the context, and nothing else changes the addresses", () => {
  const local = { "countersign:emulator": "http://127.0.0.1:4566" };
  for (const entry of ["http-api", "rest-api", "function-url"]) {
    assert.ok(!JSON.stringify(issuer({ entry }).template.toJSON()).includes("127.0.0.1"));
    assert.ok(JSON.stringify(issuer({ entry }, local).template.toJSON()).includes("http://127.0.0.1:4566/_aws/"));
  }
});

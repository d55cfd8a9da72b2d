// What tests/deploy/test_cdk.py deploys: an issuer by each entry, and an API of each kind that their tokens open.
//
//   ISSUER_ZIP, AUTHORIZER_ZIP   the packages; the issuer's with the features s3 and cloudfront
//   ARCHITECTURE                 x86_64 or arm64
//   SECRET_HASH                  the hash of the secret of client "tests", as `countersign client new` prints it
//   KEY_CACHE                    a folder for the authorizer's keys, where functions are processes of this machine
const { App, CfnOutput, CliCredentialsStackSynthesizer, Duration, RemovalPolicy, Stack } = require("aws-cdk-lib");
const { LambdaIntegration, RestApi } = require("aws-cdk-lib/aws-apigateway");
const { HttpApi, HttpMethod, WebSocketApi, WebSocketStage } = require("aws-cdk-lib/aws-apigatewayv2");
const { HttpLambdaIntegration, WebSocketLambdaIntegration } = require("aws-cdk-lib/aws-apigatewayv2-integrations");
const { PolicyStatement } = require("aws-cdk-lib/aws-iam");
const { LogGroup } = require("aws-cdk-lib/aws-logs");
const { Architecture, Code, Function, Runtime } = require("aws-cdk-lib/aws-lambda");
const { CountersignAuthorizer, CountersignIssuer, CountersignJwtAuthorizer } = require("../../lib");

const { ISSUER_ZIP, AUTHORIZER_ZIP, ARCHITECTURE, SECRET_HASH } = process.env;
const AUDIENCE = "api://orders";
const architecture = ARCHITECTURE === "arm64" ? Architecture.ARM_64 : Architecture.X86_64;
const removalPolicy = RemovalPolicy.DESTROY;

// The caller's own credentials and not the roles of `cdk bootstrap`, which have conditions the emulator does not know.
const app = new App({ defaultStackSynthesizer: new CliCredentialsStackSynthesizer() });
const stack = new Stack(app, "CountersignTest");

// With AUTH the emulator decides by policies, but a request has no kms:EncryptionContext there; test/issuer.test.cjs has that.
if (app.node.tryGetContext("countersign:emulator")) {
  const { toStatementJson } = PolicyStatement.prototype;
  PolicyStatement.prototype.toStatementJson = function () {
    const { Condition, ...statement } = toStatementJson.call(this);
    const known = Condition && !JSON.stringify(Condition).includes("kms:EncryptionContext");
    return known ? { ...statement, Condition } : statement;
  };
}

const client = (more = {}) => ({
  id: "tests", secret_hashes: [SECRET_HASH], audiences: [AUDIENCE, "api://other"], scopes: ["*"], claims: { allow: ["*"] }, ...more,
});

function issuer(id, entry, settings, more = {}) {
  return new CountersignIssuer(stack, id, { code: ISSUER_ZIP, architecture, entry, removalPolicy, settings, ...more });
}

// Rotates within seconds, as tests/e2e/test_lambda.py does.
const http = issuer("Http", "http-api", {
  clients: [client({ max_lifetime: "30s" })],
  rotation: { observe_every: "1s", skew: "1s" },
  tokens: { backdate: "0s" },
  store: { refresh: "200ms", max_stale: "3s", max_stale_signing: "5s" },
  rings: { default: { rotate_every: "15s", propagation: "2s", longest_token: "30s", keep_retired: "60s" } },
}, { documents: true, rotateEvery: Duration.minutes(1) });
const rest = issuer("Rest", "rest-api", {
  clients: [client()],
  rings: { default: { algorithm: "ES256", signer: "kms" } },
}, { functionUrl: true });
const url = issuer("Url", "function-url", { clients: [client()], rings: { default: { algorithm: "ES256" } } });

const gate = new CountersignAuthorizer(stack, "Gate", {
  code: AUTHORIZER_ZIP,
  architecture,
  removalPolicy,
  // On Lambda /tmp is the function's own; here it is this machine's.
  environment: process.env.KEY_CACHE ? { COUNTERSIGN_GATE__KEY_CACHE: process.env.KEY_CACHE } : {},
  settings: {
    trust: [http, rest, url].map((one) => ({
      issuer: one.issuerUrl, audiences: [AUDIENCE], leeway: "0s", keys_min_age: "1s",
      algorithms: [one === http ? "RS256" : "ES256"],
    })),
    // Each decision, so that the test can count them.
    log: { level: "info,countersign::gate=debug" },
    gate: {
      routes: [
        { path: "/orders", methods: ["GET"], any_scope: ["orders:read"] },
        { path: "$connect", any_scope: ["orders:read"] },
      ],
    },
  },
});

// The service behind the APIs says whom the gateway has let in.
const service = new Function(stack, "Service", {
  runtime: Runtime.PYTHON_3_13,
  handler: "index.handler",
  logGroup: new LogGroup(stack, "ServiceLog", { removalPolicy }),
  code: Code.fromInline(`
def handler(event, context):
    who = event["requestContext"].get("authorizer") or {}
    who = who.get("jwt", {}).get("claims") or who.get("lambda") or who
    return {"statusCode": 200, "body": who.get("sub", "nobody")}
`),
});
const httpApi = new HttpApi(stack, "OrdersHttp");
const integration = new HttpLambdaIntegration("Orders", service);
// One route for every path: which of them a caller may ask for is the gate's to say.
httpApi.addRoutes({ path: "/{proxy+}", methods: [HttpMethod.ANY], integration, authorizer: gate.forHttpApi("Gate") });
httpApi.addRoutes({
  path: "/native", methods: [HttpMethod.GET], integration, authorizationScopes: ["orders:read"],
  authorizer: new CountersignJwtAuthorizer("Native", http, { audiences: [AUDIENCE] }),
});
const restApi = new RestApi(stack, "OrdersRest", { cloudWatchRole: false });
restApi.root.addResource("{proxy+}").addMethod("ANY", new LambdaIntegration(service), { authorizer: gate.forRestApi("Rest") });
const webSocketApi = new WebSocketApi(stack, "OrdersWebSocket", {
  connectRouteOptions: { integration: new WebSocketLambdaIntegration("Connect", service), authorizer: gate.forWebSocketApi("Socket") },
});
new WebSocketStage(stack, "Live", { webSocketApi, stageName: "live", autoDeploy: true });

// Without an emulator these are AWS's own addresses.
const outputs = {
  HttpIssuer: http.issuerUrl, RestIssuer: rest.issuerUrl, UrlIssuer: url.issuerUrl, RestFunctionUrl: rest.functionUrl.url,
  HttpRotation: http.rotation.functionName, RestRotation: rest.rotation.functionName, GateHandler: gate.handler.functionName,
  Distribution: http.documents.url, Bucket: http.documents.bucket.bucketName,
  HttpApi: httpApi.apiId, RestApi: restApi.restApiId, WebSocketApi: webSocketApi.apiId,
};
for (const [name, value] of Object.entries(outputs)) new CfnOutput(stack, name, { value });

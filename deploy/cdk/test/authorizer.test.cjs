// The authorizer on each kind of API: who may invoke it, and what its answers are remembered by.
const { Duration } = require("aws-cdk-lib");
const { MockIntegration, RestApi } = require("aws-cdk-lib/aws-apigateway");
const { HttpApi, HttpMethod, WebSocketApi } = require("aws-cdk-lib/aws-apigatewayv2");
const { HttpUrlIntegration, WebSocketMockIntegration } = require("aws-cdk-lib/aws-apigatewayv2-integrations");
const assert = require("node:assert/strict");
const { test } = require("node:test");
const { CountersignAuthorizer } = require("../lib");
const { actions, code, stack, statements } = require("./app.cjs");

const REMEMBERED = { ttl: Duration.seconds(30) };

/** A stack with all three APIs, each guarded. */
function guarded(props = {}, options = {}) {
  return stack((one) => {
    const gate = new CountersignAuthorizer(one, "Gate", { code, ...REMEMBERED, ...props });
    new RestApi(one, "Rest").root.addMethod("GET", new MockIntegration(), { authorizer: gate.forRestApi("Rest", options) });
    new HttpApi(one, "Http").addRoutes({
      path: "/{proxy+}", methods: [HttpMethod.GET], integration: new HttpUrlIntegration("Orders", "https://orders.example.com"),
      authorizer: gate.forHttpApi("Http", options),
    });
    new WebSocketApi(one, "Socket", {
      connectRouteOptions: { integration: new WebSocketMockIntegration("Mock"), authorizer: gate.forWebSocketApi("Socket", options.credential) },
    });
  }).template;
}

const authorizers = (template, type) => Object.values(template.findResources(type)).map((one) => one.Properties);

test("an answer is remembered by the token, and is a policy for the whole API", () => {
  const template = guarded();
  const [rest] = authorizers(template, "AWS::ApiGateway::Authorizer");
  assert.deepEqual(
    [rest.Type, rest.IdentitySource, rest.AuthorizerResultTtlInSeconds], ["REQUEST", "method.request.header.Authorization", 30],
  );
  const v2 = authorizers(template, "AWS::ApiGatewayV2::Authorizer");
  const http = v2.find((one) => one.AuthorizerPayloadFormatVersion);
  assert.deepEqual(http.IdentitySource, ["$request.header.Authorization"]);
  assert.equal(http.AuthorizerPayloadFormatVersion, "1.0", "with which an answer is always a policy");
  assert.ok(!http.EnableSimpleResponses);
  assert.equal(http.AuthorizerResultTtlInSeconds, 30);
});

test("for rules that no policy can say, method and path are part of what it is remembered by", () => {
  const template = guarded({}, { perPath: true });
  const [rest] = authorizers(template, "AWS::ApiGateway::Authorizer");
  assert.equal(rest.IdentitySource, "method.request.header.Authorization,context.httpMethod,context.path");
  const http = authorizers(template, "AWS::ApiGatewayV2::Authorizer").find((one) => one.AuthorizerPayloadFormatVersion);
  assert.deepEqual(http.IdentitySource, ["$request.header.Authorization", "$context.httpMethod", "$context.path"]);
});

test("a WebSocket's token is where its client can put it", () => {
  const source = (credential) =>
    authorizers(guarded({}, { credential }), "AWS::ApiGatewayV2::Authorizer").find((one) => !one.AuthorizerPayloadFormatVersion).IdentitySource;
  assert.deepEqual(source(), ["route.request.querystring.authorization"]);
  assert.deepEqual(source("subprotocol"), ["route.request.header.Sec-WebSocket-Protocol"]);
  assert.deepEqual(source("authorization"), ["route.request.header.Authorization"]);
});

test("each API may invoke it for its own authorizer and nothing else", () => {
  const template = guarded();
  const gate = Object.entries(template.findResources("AWS::Lambda::Function")).find(([, one]) => one.Properties.Description === "Countersign: the authorizer")[0];
  const arns = Object.values(template.findResources("AWS::Lambda::Permission"))
    .filter((one) => one.Properties.FunctionName["Fn::GetAtt"][0] === gate)
    .map((one) => JSON.stringify(one.Properties.SourceArn));
  assert.equal(arns.length, 3);
  assert.ok(arns.every((arn) => arn.includes("/authorizers/")), arns.join("\n"));
});

test("it may write its log and nothing else", () => {
  const may = statements(guarded(), "GateHandlerRole").flatMap(actions);
  assert.deepEqual(may, ["logs:CreateLogStream", "logs:PutLogEvents"]);
});

test("refusals that anybody can cause do not raise the alarm at once", () => {
  const alarm = (used, props) => {
    const { template } = stack((one) => {
      const gate = new CountersignAuthorizer(one, "Gate", { code, ...props });
      if (used.includes("rest")) {
        new RestApi(one, "Rest").root.addMethod("GET", new MockIntegration(), { authorizer: gate.forRestApi("Rest") });
      }
      if (used.includes("http")) {
        new HttpApi(one, "Http").addRoutes({
          path: "/{proxy+}", integration: new HttpUrlIntegration("Orders", "https://orders.example.com"), authorizer: gate.forHttpApi("Http"),
        });
      }
      if (used.includes("websocket")) {
        const integration = new WebSocketMockIntegration("Mock");
        new WebSocketApi(one, "Socket", { connectRouteOptions: { integration, authorizer: gate.forWebSocketApi("Socket") } });
      }
    });
    const [{ Properties }] = Object.values(template.findResources("AWS::CloudWatch::Alarm"));
    assert.match(Properties.AlarmDescription, /refused/);
    return Properties.Threshold;
  };
  // There a refusal is the function's error "Unauthorized".
  for (const used of [["rest"], ["websocket"], ["rest", "http"], ["http", "websocket"], []]) assert.equal(alarm(used), 100, used);
  assert.equal(alarm(["http"]), 1, "where each error is one of ours");
  assert.equal(alarm(["rest"], { errorsThreshold: 5 }), 5);
  assert.equal(alarm(["http"], { errorsThreshold: 20 }), 20);
});

test("it takes the variables of the authorizer that it replaces, and no secrets", () => {
  const environment = { JWT_ISSUER_JWKS_URI: "https://auth.example.com/jwks", JWT_AUTHORIZED_AUDIENCES: "api://orders" };
  guarded({ environment }).hasResourceProperties("AWS::Lambda::Function", { Environment: { Variables: environment } });
  assert.throws(() => guarded({ settings: { trust: [{ hmac_secret: "ssm:/secret" }] } }), /reads no secrets/);
});

// The program of README.md: it compiles, and makes a stack.
const { App } = require("aws-cdk-lib");
const { Template } = require("aws-cdk-lib/assertions");
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { join } = require("node:path");
const { test } = require("node:test");
const { code } = require("./app.cjs");

/** What stands around the page's lines in an app: its APIs, and what is behind them. */
const around = (imports, body) => `
import { Stack } from "aws-cdk-lib";
import { MockIntegration, RestApi } from "aws-cdk-lib/aws-apigateway";
import { HttpApi, HttpMethod, WebSocketApi } from "aws-cdk-lib/aws-apigatewayv2";
import { HttpUrlIntegration, WebSocketMockIntegration } from "aws-cdk-lib/aws-apigatewayv2-integrations";
import { Topic } from "aws-cdk-lib/aws-sns";
${imports}
export class Page extends Stack {
  build() {
    const alarmTopic = new Topic(this, "Alarms");
    const [httpApi, restApi, provider] = [new HttpApi(this, "HttpApi"), new RestApi(this, "RestApi"), new Topic(this, "Provider")];
    const integration = new HttpUrlIntegration("Orders", "https://orders.example.com");
    const [restIntegration, socketIntegration] = [new MockIntegration(), new WebSocketMockIntegration("Mock")];
    ${body}
  }
}
`;

test("the page's program compiles and makes a stack", () => {
  const page = readFileSync(join(__dirname, "..", "README.md"), "utf8");
  const lines = [...page.matchAll(/```ts\n(.*?)```/gs)].map((block) => block[1]).join("\n")
    .replaceAll(/"dist\/[a-z]+-x86_64\.zip"/g, JSON.stringify(code));
  const [imports, body] = [/^import .*$/gm, lines.replaceAll(/^import .*$/gm, "")];
  const folder = mkdtempSync(join(__dirname, "readme-"));
  try {
    const source = around(lines.match(imports).join("\n").replace('"countersign-cdk"', '"../../lib"'), body);
    writeFileSync(join(folder, "page.ts"), source);
    const tsc = join(__dirname, "..", "node_modules", ".bin", "tsc");
    const options = ["--ignoreConfig", "--strict", "--skipLibCheck", "--module", "node16", "--target", "es2022", "--types", "node"];
    try {
      execFileSync(tsc, [...options, "page.ts"], { cwd: folder, stdio: "pipe" });
    } catch (why) {
      assert.fail(`${why.stdout}`);
    }
    const { Page } = require(join(folder, "page.js"));
    const stack = new Page(new App(), "Page");
    stack.build();
    const template = Template.fromStack(stack);
    template.resourceCountIs("AWS::ApiGatewayV2::Authorizer", 3);
    template.resourceCountIs("AWS::ApiGateway::Authorizer", 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/**
 * JaaS meeting tokens on Lambda, behind a REST API and a function URL.
 *
 * The private key is in Parameter Store, where `npm run setup` has put it, and not in the template.
 * Who may ask for tokens is in `settings.clients`: a secret of its own, and what it may have.
 */
import { App, CfnOutput, RemovalPolicy, Stack } from "aws-cdk-lib";
import { Architecture } from "aws-cdk-lib/aws-lambda";
import { CountersignIssuer } from "countersign-cdk";
import { existsSync, readFileSync } from "node:fs";

if (existsSync(".env")) process.loadEnvFile(".env");
const { JAAS_APP_ID, JAAS_API_KID } = process.env;
if (!JAAS_APP_ID || !JAAS_API_KID) throw new Error(".env lacks JAAS_APP_ID or JAAS_API_KID");
if (!existsSync("client.hash")) throw new Error("run `npm run setup` first: it makes client.hash");

const arm = process.arch === "arm64";
const app = new App();
const stack = new Stack(app, "CountersignJaas");
const issuer = new CountersignIssuer(stack, "Issuer", {
  code: process.env.ISSUER_ZIP ?? `../../dist/issuer-${arm ? "aarch64" : "x86_64"}.zip`,
  architecture: arm ? Architecture.ARM_64 : Architecture.X86_64,
  entry: "rest-api",
  functionUrl: true,
  environment: { JAAS_APP_ID, JAAS_API_KID, PRIVATE_KEY: "ssm:/countersign-jaas/private-key" },
  settings: {
    clients: [
      {
        id: "meetings",
        secret_hashes: [readFileSync("client.hash", "utf8").trim()],
        profiles: ["jaas"],
        max_lifetime: "3h",
        // Everything that the old function gave to anybody. Take away what the page does not need.
        jaas: { rooms: ["*"], user: ["*"], moderator: true, features: ["*"] },
      },
    ],
  },
  // An example leaves nothing behind. Take this line away for a system that lives.
  removalPolicy: RemovalPolicy.DESTROY,
});
new CfnOutput(stack, "RestApi", { value: issuer.issuerUrl });
new CfnOutput(stack, "FunctionUrl", { value: issuer.functionUrlAddress ?? "" });

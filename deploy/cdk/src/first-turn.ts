/**
 * One turn of the rotation while a stack is deployed: it makes the first keys, and the deployment
 * goes on when the issuer answers discovery at its public URL.
 *
 * What needs an issuer that answers waits for this: API Gateway reads the discovery document while
 * a JWT authorizer is created, and refuses to create it when that is missing.
 */
import { CustomResource, Duration, RemovalPolicy } from "aws-cdk-lib";
import { Code, Function, Runtime } from "aws-cdk-lib/aws-lambda";
import { RetentionDays } from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { makeFunction } from "./function";

export interface FirstTurnProps {
  /** The function that takes turns. */
  readonly rotation: Function;
  /** Where the discovery document has to be after it; undefined: nobody looks. */
  readonly discovery?: string;
  /** A turn is taken again when this changes. */
  readonly settings: string;
  readonly logRetention?: RetentionDays;
  readonly removalPolicy?: RemovalPolicy;
}

export function firstTurn(scope: Construct, id: string, props: FirstTurnProps): CustomResource {
  const handler = makeFunction(scope, `${id}Handler`, {
    code: Code.fromInline(readFileSync(join(__dirname, "..", "assets", "first_turn.py"), "utf8")),
    description: "Countersign: has the first keys made while the stack is deployed",
    environment: {},
    handler: "index.handler",
    logRetention: props.logRetention,
    memorySize: 128,
    removalPolicy: props.removalPolicy,
    runtime: Runtime.PYTHON_3_13,
    timeout: Duration.minutes(5),
  });
  props.rotation.grantInvoke(handler);
  return new CustomResource(scope, id, {
    resourceType: "Custom::CountersignFirstTurn",
    serviceToken: handler.functionArn,
    properties: {
      Function: props.rotation.functionName,
      Discovery: props.discovery ?? "",
      Settings: props.settings,
    },
  });
}

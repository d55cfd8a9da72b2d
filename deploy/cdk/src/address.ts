/**
 * Where an issuer is reached, and the URL that it has by that.
 *
 * The URL stands in every token and in the settings of the function, so it has to be known before
 * the function is made. An HTTP API and a REST API have a name of their own, to which the function
 * is attached later. A function URL is made from its function: there a parameter, which the
 * function is only told the name of, has the URL.
 */
import { CfnResource, Fn, Names, Stack } from "aws-cdk-lib";
import { EndpointType, LambdaIntegration, RestApi } from "aws-cdk-lib/aws-apigateway";
import { HttpApi, HttpRoute, HttpRouteKey } from "aws-cdk-lib/aws-apigatewayv2";
import { HttpLambdaIntegration } from "aws-cdk-lib/aws-apigatewayv2-integrations";
import { Function, FunctionUrl, FunctionUrlAuthType } from "aws-cdk-lib/aws-lambda";
import { StringParameter } from "aws-cdk-lib/aws-ssm";
import { Construct } from "constructs";

/** By what an issuer is reached. */
export type Entry = "http-api" | "rest-api" | "function-url";

/** An issuer's address. */
export interface Address {
  /** The issuer, unless it is given another one; it may be known at deployment alone. */
  readonly url: string;
  /** What stands in front of every path at the API's own name: its stage, if it has one. */
  readonly stagePath?: string;
  /** Variables that tell a function the issuer; undefined where `url` itself is to be one. */
  readonly variables?: Record<string, string>;
  /** Secrets and parameters that the function has to read for that. */
  readonly references: string[];
  readonly httpApi?: HttpApi;
  readonly restApi?: RestApi;
  readonly functionUrl?: FunctionUrl;
  /** Puts the function behind the address. */
  attach(handler: Function): Construct[];
}

/**
 * `cdk deploy -c countersign:emulator=http://127.0.0.1:4566` deploys to an AWS on this machine
 * (MiniStack, LocalStack), where `*.amazonaws.com` does not lead.
 */
export function emulator(scope: Construct): string | undefined {
  return scope.node.tryGetContext("countersign:emulator");
}

export function addressOf(scope: Construct, entry: Entry, stageName: string): Address {
  if (entry === "http-api") return behindHttpApi(scope);
  if (entry === "rest-api") return behindRestApi(scope, stageName);
  return behindFunctionUrl(scope);
}

function behindHttpApi(scope: Construct): Address {
  const httpApi = new HttpApi(scope, "HttpApi", { description: "Countersign: the issuer" });
  const host = `${httpApi.apiId}.execute-api.${Stack.of(scope).region}.${Stack.of(scope).urlSuffix}`;
  const local = emulator(scope);
  return {
    url: local ? `${local}/_aws/execute-api/${httpApi.apiId}` : `https://${host}`,
    references: [],
    httpApi,
    attach(handler) {
      const route = new HttpRoute(scope, "Route", {
        httpApi,
        integration: new HttpLambdaIntegration("Integration", handler),
        routeKey: HttpRouteKey.DEFAULT,
      });
      return [route, ...(httpApi.defaultStage ? [httpApi.defaultStage] : [])];
    },
  };
}

function behindRestApi(scope: Construct, stageName: string): Address {
  const restApi = new RestApi(scope, "RestApi", {
    cloudWatchRole: false,
    description: "Countersign: the issuer",
    deployOptions: { stageName },
    endpointTypes: [EndpointType.REGIONAL],
  });
  // Not `restApi.url`: that comes after the stage, which comes after the function.
  const id = restApi.restApiId;
  const host = `${id}.execute-api.${Stack.of(scope).region}.${Stack.of(scope).urlSuffix}`;
  const local = emulator(scope);
  return {
    url: local ? `${local}/_aws/execute-api/${id}/${stageName}` : `https://${host}/${stageName}`,
    stagePath: `/${stageName}`,
    references: [],
    restApi,
    attach(handler) {
      const integration = new LambdaIntegration(handler, { allowTestInvoke: false });
      restApi.root.addMethod("ANY", integration);
      restApi.root.addResource("{proxy+}").addMethod("ANY", integration);
      return [restApi.deploymentStage];
    },
  };
}

function behindFunctionUrl(scope: Construct): Address {
  const name = `/countersign/${Names.uniqueResourceName(scope, { maxLength: 64 })}`;
  const made: { url?: string; functionUrl?: FunctionUrl } = {};
  return {
    get url() {
      if (made.url === undefined) throw new Error("a function URL is known when its function is");
      return made.url;
    },
    get functionUrl() {
      return made.functionUrl;
    },
    variables: { COUNTERSIGN_CONFIG: `ssm:${name}` },
    references: [`ssm:${name}`],
    attach(handler) {
      made.functionUrl = publicUrl(handler);
      made.url = urlOf(scope, made.functionUrl);
      const parameter = new StringParameter(scope, "Address", {
        description: "Countersign: the issuer's configuration file, which has its URL",
        parameterName: name,
        stringValue: `issuer = "${made.url}"\n`,
      });
      return [made.functionUrl, parameter];
    },
  };
}

/** A function URL that asks no one for a signature of AWS: clients of an issuer have secrets. */
export function publicUrl(handler: Function): FunctionUrl {
  return handler.addFunctionUrl({ authType: FunctionUrlAuthType.NONE });
}

/** Its address without the slash at the end, as an issuer is written. */
export function urlOf(scope: Construct, functionUrl: FunctionUrl): string {
  const host = Fn.select(2, Fn.split("/", functionUrl.url));
  const local = emulator(scope);
  return local ? `${local}/_aws/lambda-url/${Fn.select(0, Fn.split(".", host))}` : `https://${host}`;
}

/** Everything of CloudFormation that is in `constructs`, for dependencies. */
export function resources(constructs: Construct[]): CfnResource[] {
  return constructs.flatMap((one) => one.node.findAll().filter(CfnResource.isCfnResource));
}

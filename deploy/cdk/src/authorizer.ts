/**
 * The gate as a Lambda authorizer of REST, HTTP and WebSocket APIs: one function for all of them.
 *
 * Each API may invoke it for its own authorizer and nothing else. What an answer is remembered by
 * holds the token itself and everything else the answer may depend on (docs/api-gateway.md).
 */
import { Duration, Lazy, RemovalPolicy } from "aws-cdk-lib";
import { IdentitySource, IAuthorizer, RequestAuthorizer } from "aws-cdk-lib/aws-apigateway";
import { IHttpRouteAuthorizer, IWebSocketRouteAuthorizer } from "aws-cdk-lib/aws-apigatewayv2";
import {
  HttpLambdaAuthorizer, HttpLambdaResponseType, WebSocketLambdaAuthorizer,
} from "aws-cdk-lib/aws-apigatewayv2-authorizers";
import { Alarm, CfnAlarm } from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import { Architecture, Function } from "aws-cdk-lib/aws-lambda";
import { RetentionDays } from "aws-cdk-lib/aws-logs";
import { ITopic } from "aws-cdk-lib/aws-sns";
import { Construct } from "constructs";
import { makeFunction } from "./function";
import { codeOf } from "./package";
import { Settings, check, references, variables } from "./settings";

export interface CountersignAuthorizerProps {
  /**
   * The package: a zip with a `bootstrap`, as `scripts/package` makes it
   * (`dist/authorizer-x86_64.zip`).
   */
  readonly code: string;
  /** What the package was built for. @default X86_64 */
  readonly architecture?: Architecture;
  /** `trust`, `gate` and `log` as in `countersign.toml`. */
  readonly settings?: Settings;
  /** A `countersign.toml` that is put beside the `bootstrap`; `settings` win over it. */
  readonly configFile?: string;
  /**
   * The variables of the authorizer that it replaces: `JWT_ISSUER_JWKS_URI`,
   * `JWT_AUTHORIZED_AUDIENCES`, …
   */
  readonly environment?: Record<string, string>;
  /**
   * How long API Gateway remembers an answer: so long a token may open an API after its end.
   * @default 1 minute
   */
  readonly ttl?: Duration;
  /** Who is told when it fails. */
  readonly alarmTopic?: ITopic;
  /**
   * How many errors of the function within five minutes raise the alarm. At REST and WebSocket APIs
   * each token that is refused is one, and anybody can send those. @default 1 where it is for HTTP
   * APIs alone (`forHttpApi`), otherwise 100
   */
  readonly errorsThreshold?: number;
  /** @default 256 MB */
  readonly memorySize?: number;
  /** @default three months */
  readonly logRetention?: RetentionDays;
  /** What becomes of its log when the stack goes. @default RETAIN */
  readonly removalPolicy?: RemovalPolicy;
}

export interface RememberOptions {
  /**
   * Answers are remembered by method and path as well: for rules with `*` or `{id}` where another
   * rule lets the caller deeper, which a policy cannot say. @default false
   */
  readonly perPath?: boolean;
}

/** Where a WebSocket client has its token: browsers cannot send `Authorization`. */
export type WebSocketCredential = "query" | "subprotocol" | "authorization";

const WEB_SOCKET: Record<WebSocketCredential, string> = {
  query: "route.request.querystring.authorization",
  subprotocol: "route.request.header.Sec-WebSocket-Protocol",
  authorization: "route.request.header.Authorization",
};

/** Errors within five minutes that refused tokens alone do not reach on a quiet day. */
const MANY = 100;

export class CountersignAuthorizer extends Construct {
  public readonly handler: Function;
  /**
   * The function's errors: it ended without an answer, or could not have the keys of an issuer, and
   * API Gateway answers 500. At REST and WebSocket APIs also each token that is refused, because
   * there a refusal is the error `Unauthorized`, which becomes 401.
   */
  public readonly errors: Alarm;
  private readonly ttl: Duration;
  /** The kinds of API that it is for, as far as they came from here. */
  private readonly apis = new Set<"rest" | "http" | "websocket">();

  constructor(scope: Construct, id: string, props: CountersignAuthorizerProps) {
    super(scope, id);
    this.ttl = props.ttl ?? Duration.minutes(1);
    const environment = { ...variables(props.settings ?? {}), ...props.environment };
    check(environment);
    const [secret] = references(environment);
    if (secret) {
      throw new Error(`${secret}: the authorizer reads no secrets; the issuers' public keys are enough`);
    }
    this.handler = makeFunction(this, "Handler", {
      ...props,
      code: codeOf(props.code, props.configFile),
      description: "Countersign: the authorizer",
      environment,
      // API Gateway waits ten seconds for an answer.
      timeout: Duration.seconds(10),
    });
    this.errors = new Alarm(this, "ErrorsAlarm", {
      alarmDescription:
        "Countersign: the authorizer ended without an answer, or could not have the keys of an issuer. " +
        "At REST and WebSocket APIs tokens that are refused count too. See its log.",
      evaluationPeriods: 1,
      metric: this.handler.metricErrors({ period: Duration.minutes(5) }),
      threshold: props.errorsThreshold ?? MANY,
    });
    if (props.errorsThreshold === undefined) {
      // Which APIs it is for is known when all of them have asked.
      (this.errors.node.defaultChild as CfnAlarm).threshold = Lazy.number({
        produce: () => (this.apis.size === 1 && this.apis.has("http") ? 1 : MANY),
      });
    }
    if (props.alarmTopic) this.errors.addAlarmAction(new SnsAction(props.alarmTopic));
  }

  /**
   * For the methods of one REST API. An answer is a policy for the whole API, so that the token is
   * all it has to be remembered by.
   */
  forRestApi(id: string, options: RememberOptions = {}): IAuthorizer {
    this.apis.add("rest");
    const more = [IdentitySource.context("httpMethod"), IdentitySource.context("path")];
    return new RequestAuthorizer(this, id, {
      handler: this.handler,
      identitySources: [IdentitySource.header("Authorization"), ...(options.perPath ? more : [])],
      resultsCacheTtl: this.ttl,
    });
  }

  /**
   * For the routes of one HTTP API. Its answers are policies too (payload 1.0): a plain yes would
   * be remembered for every path of a route like `/{proxy+}`.
   */
  forHttpApi(id: string, options: RememberOptions = {}): IHttpRouteAuthorizer {
    this.apis.add("http");
    const more = ["$context.httpMethod", "$context.path"];
    return new HttpLambdaAuthorizer(id, this.handler, {
      identitySource: ["$request.header.Authorization", ...(options.perPath ? more : [])],
      responseTypes: [HttpLambdaResponseType.IAM],
      resultsCacheTtl: this.ttl,
    });
  }

  /** For the route `$connect` of one WebSocket API. Nothing is remembered there. */
  forWebSocketApi(id: string, credential: WebSocketCredential = "query"): IWebSocketRouteAuthorizer {
    this.apis.add("websocket");
    return new WebSocketLambdaAuthorizer(id, this.handler, { identitySource: [WEB_SOCKET[credential]] });
  }
}

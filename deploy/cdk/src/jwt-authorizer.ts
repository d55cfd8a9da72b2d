/**
 * API Gateway's own JWT authorizer for the tokens of an issuer of this app (HTTP APIs alone).
 *
 * API Gateway reads the issuer's discovery document while the authorizer is created. So it is
 * created after the issuer has answered for the first time, also where both are in one stack.
 * The ring that signs has to be RS256, which HTTP APIs take and nothing else.
 */
import {
  HttpRouteAuthorizerBindOptions, HttpRouteAuthorizerConfig, IHttpRouteAuthorizer,
} from "aws-cdk-lib/aws-apigatewayv2";
import { HttpJwtAuthorizer } from "aws-cdk-lib/aws-apigatewayv2-authorizers";
import { CountersignIssuer } from "./issuer";

export interface CountersignJwtAuthorizerProps {
  /** The audiences of which a token must name one. */
  readonly audiences: string[];
  /** Where the token is. @default ["$request.header.Authorization"] */
  readonly identitySource?: string[];
}

export class CountersignJwtAuthorizer implements IHttpRouteAuthorizer {
  public readonly authorizationType = "JWT";
  private readonly inner: HttpJwtAuthorizer;

  constructor(
    private readonly id: string,
    private readonly issuer: CountersignIssuer,
    props: CountersignJwtAuthorizerProps,
  ) {
    this.inner = new HttpJwtAuthorizer(id, issuer.issuerUrl, {
      identitySource: props.identitySource,
      jwtAudience: props.audiences,
    });
  }

  get authorizerId(): string {
    return this.inner.authorizerId;
  }

  bind(options: HttpRouteAuthorizerBindOptions): HttpRouteAuthorizerConfig {
    const config = this.inner.bind(options);
    options.scope.node.findChild(this.id).node.addDependency(this.issuer.ready);
    return config;
  }
}

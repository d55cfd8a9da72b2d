/** Constructs for Countersign on AWS. README.md shows how they are used. */
export { Entry } from "./address";
export { Alarms } from "./alarms";
export {
  CountersignAuthorizer, CountersignAuthorizerProps, RememberOptions, WebSocketCredential,
} from "./authorizer";
export { Documents } from "./documents";
export { CountersignIssuer, CountersignIssuerProps } from "./issuer";
export { CountersignJwtAuthorizer, CountersignJwtAuthorizerProps } from "./jwt-authorizer";
export { Setting, Settings } from "./settings";

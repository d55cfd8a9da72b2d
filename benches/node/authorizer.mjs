// A Lambda authorizer as one would write it with aws-jwt-verify: what Countersign's is measured against.
//
// The same replies as `countersign-authorizer` without rules gives to REST REQUEST, HTTP API 2.0 and WebSocket events.
// The token is looked for in the Authorization header alone. Event and reply are text: JSON is read and written here, as
// Lambda's runtime would do it around a function.
const ALLOW = "execute-api:Invoke";

/** `verify` gives a token's claims, or throws. */
export function authorizer(verify) {
  return (text) => {
    const event = JSON.parse(text);
    const simple = event.version === "2.0";
    let claims;
    try {
      claims = verify(bearer(event.headers));
    } catch {
      if (simple) return JSON.stringify({ isAuthorized: false });
      throw new Error("Unauthorized");
    }
    const { sub, iss, scope, exp } = claims;
    const context = { sub, iss, scope, exp };
    if (simple) return JSON.stringify({ isAuthorized: true, context });
    const statement = { Action: ALLOW, Effect: "Allow", Resource: [resource(event)] };
    const policyDocument = { Version: "2012-10-17", Statement: [statement] };
    return JSON.stringify({ principalId: sub, policyDocument, context });
  };
}

function bearer(headers) {
  const header = headers?.authorization ?? headers?.Authorization;
  if (!header?.startsWith("Bearer ")) throw new Error("no token");
  return header.slice(7);
}

/** The stage, so that a cached policy is right for every route; the one route of a WebSocket API. */
function resource({ methodArn, requestContext }) {
  if (requestContext.eventType === "CONNECT") return methodArn;
  const [api, stage] = methodArn.split("/", 2);
  return `${api}/${stage}/*/*`;
}

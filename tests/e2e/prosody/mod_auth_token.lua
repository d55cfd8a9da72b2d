-- Lets in who comes over BOSH with a token that is good: SASL ANONYMOUS, the token in the query. For tests; see token.lib.lua.
local formdecode = require "util.http".formdecode;
local uuid = require "util.uuid".generate;
local sasl = require "util.sasl";

local tokens = module:require("token").new(module);
local allow_empty = module:get_option_boolean("allow_empty_token", false);

module:hook_global("bosh-session", function (event)
	local query = event.request.url.query;
	event.session.auth_token = query and formdecode(query).token;
end);

sasl.registerMechanism("ANONYMOUS", { "anonymous" }, function (self)
	local good, why = self.profile.anonymous(self);
	if not good then return "failure", "not-allowed", why; end
	self.username = uuid();
	return "success";
end);

local provider = {};
function provider.test_password() return nil, "not with a password"; end
function provider.get_password() return nil; end
function provider.set_password() return nil, "not with a password"; end
function provider.user_exists() return true; end
function provider.create_user() return nil; end
function provider.get_sasl_handler(session)
	return sasl.new(module.host, { anonymous = function ()
		if session.auth_token == nil and allow_empty then return true; end
		local claims, why = tokens:verify(session.auth_token);
		session.token_claims, session.token_rules = claims, tokens;
		return claims ~= nil, why;
	end });
end

module:provides("auth", provider);

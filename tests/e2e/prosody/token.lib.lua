-- The rules of Jitsi's token plugins, as its documentation has them (lib-jitsi-meet, doc/tokens.md), for tests: the plugins
-- themselves are in no package. Written for these tests and nothing else.
local json = require "util.json";
local hashes = require "util.hashes";
local base64 = require "util.encodings".base64;
local split_jid = require "util.jid".split;
local http = require "socket.http";
local timer = require "util.timer";
local pkey, x509, digest = require "openssl.pkey", require "openssl.x509", require "openssl.digest";

local function decode(text)
	return base64.decode(text:gsub("[-_]", { ["-"] = "+", ["_"] = "/" }) .. "==");
end

-- DER, as far as a public key needs it.
local function der(tag, content)
	local n = #content;
	local length = n < 128 and string.char(n)
		or n < 256 and string.char(0x81, n) or string.char(0x82, n // 256, n % 256);
	return string.char(tag) .. length .. content;
end

local function integer(bytes)
	return der(2, bytes:byte() > 127 and "\0" .. bytes or bytes);
end

local function rsa_key(jwk)
	local numbers = der(0x30, integer(decode(jwk.n)) .. integer(decode(jwk.e)));
	local algorithm = der(0x30, "\6\9\42\134\72\134\247\13\1\1\1\5\0");
	local text = base64.encode(der(0x30, algorithm .. der(3, "\0" .. numbers))):gsub(("."):rep(64), "%0\n");
	return pkey.new("-----BEGIN PUBLIC KEY-----\n" .. text .. "\n-----END PUBLIC KEY-----\n");
end

-- A map of certificates, or a JWK Set.
local function parse(document)
	local keys = {};
	if document.keys then
		for _, jwk in ipairs(document.keys) do keys[jwk.kid] = rsa_key(jwk); end
	else
		for kid, certificate in pairs(document) do keys[kid] = x509.new(certificate):getPublicKey(); end
	end
	return keys;
end

-- All keys at once, and again a minute before `Cache-Control` ends them; an unknown kid fetches nothing. A key that is
-- no longer there is believed `stay` seconds more.
local function keys_at(url, stay)
	local keys, gone = {}, {};
	local function refresh()
		local body, status, headers = http.request(url);
		if status ~= 200 then return 30; end
		local now, found = os.time(), parse(json.decode(body));
		for kid, key in pairs(keys) do
			if not found[kid] then
				gone[kid] = gone[kid] or now + stay;
				if now < gone[kid] then found[kid] = key; end
			end
		end
		for kid in pairs(gone) do
			if not found[kid] or found[kid] ~= keys[kid] then gone[kid] = nil; end
		end
		keys = found;
		local age = tonumber((headers["cache-control"] or ""):match("max%-age=(%d+)")) or 6 * 3600;
		return age > 60 and age - 60 or math.max(age, 1);
	end
	timer.add_task(refresh(), refresh);
	return function (kid) return keys[kid]; end
end

-- Each key when it is needed, by the SHA-256 of its name.
local function key_server(url)
	return function (kid)
		local body, status = http.request(url .. "/" .. hashes.sha256(kid, true) .. ".pem");
		return status == 200 and pkey.new(body) or nil;
	end
end

local function has(list, value)
	for _, one in ipairs(list) do
		if one == "*" or one == value then return true; end
	end
	return false;
end

local util = {};

function util.new(module)
	local self = {
		secret = module:get_option_string("app_secret"),
		app_id = assert(module:get_option_string("app_id"), "app_id is always needed"),
		require_room = module:get_option_boolean("asap_require_room_claim", true),
		verify_domain = module:get_option_boolean("enable_domain_verification", true),
	};
	self.issuers = module:get_option_array("asap_accepted_issuers", { self.app_id });
	self.audiences = module:get_option_array("asap_accepted_audiences", { "*" });
	self.algorithm = module:get_option_string("signature_algorithm", self.secret and "HS256" or "RS256");
	local url, server = module:get_option_string("cache_keys_url"), module:get_option_string("asap_key_server");
	local stay = module:get_option_number("removed_keys_stay", 90 * 60);
	self.key = url and keys_at(url, stay) or server and key_server(server);
	return setmetatable(self, { __index = util });
end

-- Whether a token is signed, and what is wrong if not.
function util:signature_is_good(header, signed, signature)
	if self.secret then return hashes.equals(hashes.hmac_sha256(self.secret, signed), signature), "signature"; end
	if type(header.kid) ~= "string" then return false, "kid"; end
	if header.alg:sub(1, 2) ~= "RS" then return false, "alg"; end
	local key = self.key(header.kid);
	if not key then return false, "key"; end
	return key:verify(signature, digest.new("sha" .. header.alg:sub(3)):update(signed)), "signature";
end

-- The claims, or nil and why.
function util:verify(token)
	local signed, one, two, three = tostring(token):match("^(([%w_-]+)%.([%w_-]+))%.([%w_-]+)$");
	if not signed then return nil, "it is no token"; end
	local header, claims, now = json.decode(decode(one)), json.decode(decode(two)), os.time();
	if type(header) ~= "table" or type(claims) ~= "table" then return nil, "it is no token"; end
	if header.typ ~= "JWT" then return nil, "typ"; end
	if header.alg ~= self.algorithm then return nil, "alg"; end
	local good, wrong = self:signature_is_good(header, signed, decode(three));
	if not good then return nil, wrong; end
	if claims.exp and (type(claims.exp) ~= "number" or now >= claims.exp) then return nil, "exp"; end
	if claims.nbf and (type(claims.nbf) ~= "number" or now < claims.nbf) then return nil, "nbf"; end
	if not has(self.issuers, claims.iss) then return nil, "iss"; end
	if not has(self.audiences, claims.aud) then return nil, "aud"; end
	if self.require_room and claims.room == nil then return nil, "room"; end
	if self.verify_domain and type(claims.sub) ~= "string" then return nil, "sub"; end
	for name, value in pairs(claims.context and claims.context.user or {}) do
		if type(value) ~= "string" then return nil, "context.user." .. name; end
	end
	return claims;
end

-- Whether a token with these claims opens a room.
function util:opens(claims, room)
	local name, host = split_jid(room);
	local claimed = claims.room:lower();
	if claimed ~= "*" and claimed ~= name then return false; end
	local domain = claims.sub and claims.sub:lower();
	return not self.verify_domain or domain == "*" or host == "conference." .. domain;
end

-- A feature is allowed where there is no table, or where it says so.
function util.allows(claims, feature)
	local features = claims.context and claims.context.features;
	return not features or features[feature] == "true" or features[feature] == true;
end

return util;

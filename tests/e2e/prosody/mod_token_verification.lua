-- Lets into a room whose token opens it. For tests; see token.lib.lua.
local st = require "util.stanza";
local bare = require "util.jid".bare;

local function check(event)
	local session, stanza = event.origin, event.stanza;
	local claims = session.token_claims;
	if not claims or not session.token_rules:opens(claims, bare(stanza.attr.to)) then
		session.send(st.error_reply(stanza, "cancel", "not-allowed", "Room and token mismatched"));
		return true;
	end
	-- What a feature is asked for later, told at once.
	for _, feature in ipairs({ "recording", "livestreaming" }) do
		if session.token_rules.allows(claims, feature) then module:log("info", "may %s: %s", feature, claims.room); end
	end
end

module:hook("muc-room-pre-create", check, 99);
module:hook("muc-occupant-pre-join", check, 99);

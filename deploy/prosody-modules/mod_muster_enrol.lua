-- mod_muster_enrol: the site's cluster manager mints enrolment tokens and removes accounts of hosts.
--
-- Why: a host enrols by in-band registration with a single-use token (XEP-0445). Prosody's own invitations are minted by
-- admin accounts and let the newcomer choose any name, while a host of ours is told apart by its account. So tokens made
-- here fix the account name, only they allow a registration, and they are given to one component and to nobody else.
--
-- Load it on the VirtualHost, with mod_invites, mod_invites_register and mod_register_ibr.
-- Options: muster_enrol_component = "cloud.<host>"   the component that may ask.
--          muster_enrol_pending_max = 1000           tokens that may be out at a time.
--
-- IQ set to the host, from an address of that component (all others get `forbidden`):
--   <enrol xmlns='urn:muster:enrol:1' account='host1' ttl-seconds='3600'/>
--     answer: <enrol xmlns='urn:muster:enrol:1' account='host1' token='...' expires-seconds='3600'/>
--     An earlier unused token of the same account stops working. `conflict` when the account exists,
--     `resource-constraint` when too many tokens are out, `bad-request` naming the attribute that is wrong.
--   <revoke xmlns='urn:muster:enrol:1' account='host1'/>
--     deletes the account, its unused tokens and its sessions; may be repeated.
--     answer: <revoke xmlns='urn:muster:enrol:1' account='host1' deleted='true|false'/>

local st = require "util.stanza";
local jid_host = require "util.jid".host;
local nodeprep = require "util.encodings".stringprep.nodeprep;
local usermanager = require "core.usermanager";

local xmlns = "urn:muster:enrol:1";
local account_bytes_max = 128;
local ttl_seconds_default, ttl_seconds_max = 3600, 7 * 24 * 3600;

local invites = module:depends("invites");
local asker = module:get_option_string("muster_enrol_component", "cloud."..module.host);
local pending_max = module:get_option_number("muster_enrol_pending_max", 1000);
local tokens = module:open_store("invite_token", "map");

local function is_account(name)
	return type(name) == "string" and #name > 0 and #name <= account_bytes_max and nodeprep(name, true) == name;
end

-- Takes away unused tokens of `account` and all that ran out, so that the store stays as small as what is pending.
-- Returns how many are left.
local function drop_tokens(account)
	local now, left = os.time(), 0;
	for token, invite in pairs(module:open_store("invite_token"):get(nil) or {}) do
		local fixed = invite.additional_data and invite.additional_data.muster_account;
		if fixed == account or invite.expires < now then
			tokens:set(nil, token, nil);
		else
			left = left + 1;
		end
	end
	return left;
end

-- Returns token and lifetime in seconds, or nil and a reason. Global: the admin shell of the product calls it.
function mint(account, ttl_seconds) --luacheck: ignore 131/mint
	if not is_account(account) then return nil, "account: not a valid account name"; end
	ttl_seconds = ttl_seconds or ttl_seconds_default;
	if math.type(ttl_seconds) ~= "integer" or ttl_seconds < 1 or ttl_seconds > ttl_seconds_max then
		return nil, "ttl-seconds: a whole number from 1 to "..ttl_seconds_max.." is needed";
	end
	if usermanager.user_exists(account, module.host) then
		return nil, "conflict";
	end
	if drop_tokens(account) >= pending_max then
		return nil, "resource-constraint";
	end
	local invite, err = invites.create_account(account, { muster_account = account }, ttl_seconds);
	if not invite then return nil, err; end
	module:log("info", "Minted an enrolment token for %s, good for %d s", account, ttl_seconds);
	return invite.token, ttl_seconds;
end

-- Returns whether an account was there to be deleted, or nil and a reason.
function revoke(account) --luacheck: ignore 131/revoke
	if not is_account(account) then return nil, "account: not a valid account name"; end
	drop_tokens(account);
	if not usermanager.user_exists(account, module.host) then return false; end
	local deleted, err = usermanager.delete_user(account, module.host);
	if not deleted then return nil, err or "the account could not be deleted"; end
	module:log("info", "Removed account %s", account);
	return true;
end

local function refuse(event, kind, condition, text)
	event.origin.send(st.error_reply(event.stanza, kind, condition, text));
	return true;
end

local function may_ask(event)
	local origin = event.origin;
	return origin.type == "component" and origin.host == asker and jid_host(event.stanza.attr.from) == asker;
end

module:hook("iq-set/host/"..xmlns..":enrol", function (event)
	if not may_ask(event) then return refuse(event, "auth", "forbidden", "Only "..asker.." may ask for tokens"); end
	local asked = event.stanza.tags[1].attr;
	local ttl_seconds;
	if asked["ttl-seconds"] then ttl_seconds = math.tointeger(tonumber(asked["ttl-seconds"])) or -1; end
	local token, detail = mint(asked.account, ttl_seconds);
	if token then
		event.origin.send(st.reply(event.stanza):tag("enrol", { xmlns = xmlns, account = asked.account,
			token = token, ["expires-seconds"] = string.format("%d", detail) }));
		return true;
	elseif detail == "conflict" then
		return refuse(event, "cancel", "conflict", "The account exists: revoke it first");
	elseif detail == "resource-constraint" then
		return refuse(event, "wait", "resource-constraint", "Too many tokens are out: wait until some are used or expire");
	elseif detail == "internal-server-error" then
		return refuse(event, "wait", "internal-server-error", "The token could not be stored");
	end
	return refuse(event, "modify", "bad-request", detail);
end);

module:hook("iq-set/host/"..xmlns..":revoke", function (event)
	if not may_ask(event) then return refuse(event, "auth", "forbidden", "Only "..asker.." may remove accounts"); end
	local account = event.stanza.tags[1].attr.account;
	if not is_account(account) then return refuse(event, "modify", "bad-request", "account: not a valid account name"); end
	local deleted, err = revoke(account);
	if deleted == nil then return refuse(event, "wait", "internal-server-error", err); end
	event.origin.send(st.reply(event.stanza):tag("revoke", { xmlns = xmlns, account = account,
		deleted = tostring(deleted) }));
	return true;
end);

-- After mod_invites_register (0), which refuses those without any token. The token is looked up again: it may have been
-- used, revoked or run out since this connection showed it.
module:hook("user-registering", function (event)
	local shown = event.session and event.session.validated_invite;
	if not shown then return; end
	local invite = invites.get(shown.token);
	local fixed = invite and invite.additional_data and invite.additional_data.muster_account;
	if fixed and fixed == event.username then return; end
	event.allowed = false;
	event.error_type, event.error_condition = "auth", "forbidden";
	event.reason = invite and "The token is for another account" or "The token is used up, revoked or expired";
end, -10);

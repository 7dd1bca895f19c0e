-- mod_muster_peer_accounts: the account as which a peer site comes speaks with our component, and with nobody else.
--
-- Why: a peer whose own server takes no connections logs in here as an ordinary client (`cloud-<domain>@<host>`). An
-- ordinary account may speak to every other one: to the hosts' managers, for instance, who must never hear a peer.
--
-- Load it on the VirtualHost. Accounts are told by their name, which nobody else gets: tokens for it are given to the
-- site's component alone (mod_muster_enrol).
-- Option: muster_peers_component = "cloud.<host>"   the component they may speak with.

local st = require "util.stanza";
local jid_split = require "util.jid".split;

local prefix = "cloud-";
local cloud = module:get_option_string("muster_peers_component", "cloud."..module.host);
-- First of all handlers.
local priority = 1000;

-- What a client needs of its own server: a resource, a session, a sign of life.
local own = {
	["urn:ietf:params:xml:ns:xmpp-bind"] = true;
	["urn:ietf:params:xml:ns:xmpp-session"] = true;
	["urn:xmpp:ping"] = true;
};

local function is_peer_account(name)
	return name and name:sub(1, #prefix) == prefix;
end

local function may_send(stanza, to_host)
	if to_host == cloud then return true; end
	if stanza.name ~= "iq" or (to_host and to_host ~= module.host) then return false; end
	local payload = stanza.tags[1];
	-- An answer goes to whoever asked, and that can only have been the server or the component.
	return not payload or stanza.attr.type == "result" or stanza.attr.type == "error" or own[payload.attr.xmlns] or false;
end

local function sent(event)
	local origin, stanza = event.origin, event.stanza;
	if origin.type ~= "c2s" or not is_peer_account(origin.username) then return; end
	local node, to_host = jid_split(stanza.attr.to);
	if may_send(stanza, to_host) and not (to_host == module.host and node and node ~= origin.username) then return; end
	if stanza.attr.type ~= "error" and stanza.attr.type ~= "result" then
		origin.send(st.error_reply(stanza, "auth", "forbidden", "This account speaks with "..cloud.." only"));
	end
	return true;
end

local function arrived(event)
	local stanza = event.stanza;
	local node = jid_split(stanza.attr.to);
	if not is_peer_account(node) then return; end
	local from_node, from_host = jid_split(stanza.attr.from);
	-- From the server itself, from the component, or from the account's own sessions.
	if from_host == cloud or (from_host == module.host and (not from_node or from_node == node)) then return; end
	if stanza.name == "iq" and (stanza.attr.type == "get" or stanza.attr.type == "set") then
		event.origin.send(st.error_reply(stanza, "cancel", "service-unavailable"));
	end
	return true;
end

for _, name in ipairs { "iq", "message", "presence" } do
	for _, target in ipairs { "self", "bare", "full", "host" } do
		module:hook("pre-"..name.."/"..target, sent, priority);
	end
	for _, target in ipairs { "bare", "full" } do
		module:hook(name.."/"..target, arrived, priority);
	end
end

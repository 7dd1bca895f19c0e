-- mod_muster_peers_only: only peered domains are let in, and only peered domains are spoken to.
--
-- Why: a valid certificate says who somebody is, not that we have a peering with them. Streams of other domains are
-- closed with policy-violation as soon as they are authenticated, and stanzas for other domains are answered with
-- not-allowed before a connection is opened.
--
-- Load it on each component that peers may reach.
-- Option: muster_peers = { "cloud.beta.example" }   exact domains; empty or absent means nobody.
-- The list and the private hosts file follow a reload of the configuration; streams of a domain that is no longer
-- listed are closed then.

local st = require "util.stanza";

local peers;

local function read_peers()
	peers = module:get_option_set("muster_peers", {});
end
read_peers();

local violation = { condition = "policy-violation", text = "There is no peering between our domains" };

-- Out: above mod_s2s, which takes a stanza at -1 (existing stream) or -10 (new stream).
module:hook("route/remote", function (event)
	if peers:contains(event.to_host) then return; end
	local stanza = event.stanza;
	module:log("info", "Refused %s to %s: not a peer", stanza.name, event.to_host);
	local kind = stanza.attr.type;
	if kind ~= "error" and not (stanza.name == "iq" and kind == "result") then
		module:send(st.error_reply(stanza, "cancel", "not-allowed", event.to_host.." is not a peer of this site"));
	end
	return true;
end, 1000);

-- In: above mod_s2s, which marks the stream as usable at -1.
module:hook("s2s-authenticated", function (event)
	local session, domain = event.session, event.host;
	if session.direction ~= "incoming" or peers:contains(domain) then return; end
	module:log("warn", "Refused a stream from %s (%s): not a peer", domain, session.ip or "unknown address");
	session:close(violation);
	return false;
end, 1000);

local function close_former_peers()
	for domain, session in pairs(prosody.hosts[module.host].s2sout or {}) do
		if not peers:contains(domain) then session:close(violation); end
	end
	for session in pairs(prosody.incoming_s2s or {}) do
		if session.to_host == module.host and session.type == "s2sin" and not peers:contains(session.from_host) then
			session:close(violation);
		end
	end
end

module:hook_global("config-reloaded", function ()
	read_peers();
	close_former_peers();
	-- The private hosts file is read once, when the resolver is made: a new peer needs a new resolver.
	local loaded, unbound = pcall(require, "net.unbound");
	if loaded and unbound.dns then unbound.dns.purge(); end
end);

-- mod_muster_peers_only: only peered domains are let in, and only peered domains are spoken to.
--
-- Why: a valid certificate says who somebody is, not that we have a peering with them. Streams of other domains are
-- closed with policy-violation as soon as they are authenticated, and stanzas for other domains are answered with
-- not-allowed before a connection is opened.
--
-- Load it on each component that peers may reach, and on the VirtualHost, which takes the list at run time.
-- Option of the component: muster_peers = { "cloud.beta.example" }   exact domains that count until a list was set.
-- Option of the VirtualHost: muster_peers_component = "cloud.<host>"   the component that may set its list.
--
-- IQ set to the VirtualHost, from an address of that component (all others get `forbidden`):
--   <peers xmlns='urn:muster:peers:1'><peer>cloud.beta.example</peer>...</peers>
--     the whole list: it takes the place of the one before, and of the option's. Streams of a domain that is no longer
--     listed are closed. It is kept until the next one, also while the component is away.
--     answer: empty result. `bad-request` where an entry is no domain, `resource-constraint` where there are too many.
--
-- The option and the private hosts file follow a reload of the configuration.

local st = require "util.stanza";
local nameprep = require "util.encodings".stringprep.nameprep;
local jid_host = require "util.jid".host;
local set = require "util.set";

local xmlns = "urn:muster:peers:1";
local peers_max = 2000;
-- A refused domain is logged, and told why, once in this time; after that its streams end without a word.
local refused_every, refused_max = 60, 1000;

if module:get_host_type() ~= "component" then
	local asker = module:get_option_string("muster_peers_component", "cloud."..module.host);

	local function refuse(event, kind, condition, text)
		event.origin.send(st.error_reply(event.stanza, kind, condition, text));
		return true;
	end

	module:hook("iq-set/host/"..xmlns..":peers", function (event)
		local origin, stanza = event.origin, event.stanza;
		if origin.type ~= "component" or origin.host ~= asker or jid_host(stanza.attr.from) ~= asker then
			return refuse(event, "auth", "forbidden", "Only "..asker.." may set its peers");
		end
		local list, count = set.new(), 0;
		for child in stanza.tags[1]:childtags("peer", xmlns) do
			local domain = child:get_text() or "";
			count = count + 1;
			if #domain == 0 or #domain > 253 or domain:find("[@/%s]") or nameprep(domain, true) ~= domain then
				return refuse(event, "modify", "bad-request", "peer "..count..": not a domain name");
			end
			list:add(domain);
		end
		if count > peers_max then
			return refuse(event, "wait", "resource-constraint", "At most "..peers_max.." peers");
		end
		local component = prosody.hosts[asker];
		if not (component and component.events.fire_event("muster-peers-set", { peers = list })) then
			return refuse(event, "cancel", "service-unavailable", "mod_muster_peers_only is not loaded on "..asker);
		end
		origin.send(st.reply(stanza));
		return true;
	end);
	return;
end

local configured, peers;
local set_at_run_time = false;

local function read_configured()
	configured = module:get_option_set("muster_peers", {});
	if not set_at_run_time then peers = configured; end
end
read_configured();

function module.save()
	return { peers = set_at_run_time and peers or nil };
end

function module.restore(saved)
	if saved.peers then peers, set_at_run_time = saved.peers, true; end
end

local refused, refused_count = {}, 0;

-- Whether this domain's refusal is to be told: bounded, so that many names cost no more than one.
local function is_told(domain)
	local now = os.time();
	if refused[domain] and now - refused[domain] < refused_every then return false; end
	if not refused[domain] then
		if refused_count >= refused_max then refused, refused_count = {}, 0; end
		refused_count = refused_count + 1;
	end
	refused[domain] = now;
	return true;
end

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
	if is_told(domain) then
		module:log("warn", "Refused a stream from %s (%s): not a peer", domain, session.ip or "unknown address");
		session:close(violation);
	else
		session:close();
	end
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

module:hook("muster-peers-set", function (event)
	local added = event.peers - peers;
	peers, set_at_run_time = event.peers, true;
	-- Whoever is let in now is told again, should it be turned away later.
	refused, refused_count = {}, 0;
	if not added:empty() then module:log("info", "Let in: %s", tostring(added)); end
	close_former_peers();
	return true;
end);

module:hook_global("config-reloaded", function ()
	read_configured();
	close_former_peers();
	-- The private hosts file is read once, when the resolver is made: a new peer needs a new resolver.
	local loaded, unbound = pcall(require, "net.unbound");
	if loaded and unbound.dns then unbound.dns.purge(); end
end);

-- mod_muster_local_only: stanzas of other sites never reach an account of this host.
--
-- Why: Prosody checks only the `from` of what arrives on a server-to-server stream. A stream that was opened to our
-- public component may therefore carry stanzas for host1@<our domain>: they would be delivered to a host manager, or
-- kept for it as offline messages. Peers speak to the component alone, so everything else is refused here, before any
-- other handler sees it.
--
-- Load it on the VirtualHost and on every component that is not meant for peers. It has no options.
-- Nothing is answered: an error would have to carry the account's address over the component's stream, where the peer
-- must take it for a forgery and close the stream. A peer of ours never sends such stanzas, its own server forbids them.

-- First of all handlers: mod_presence and mod_offline run at 0, mod_iq and others below.
local priority = 1000;

local function from_another_site(origin)
	-- `dummy` origins are Prosody's own error answers for stanzas that could not be sent to a remote domain.
	return (origin.type == "s2sin" or origin.type == "s2sout") and not origin.dummy;
end

local function drop(event)
	local origin, stanza = event.origin, event.stanza;
	if not from_another_site(origin) then return; end
	if not origin.muster_local_only_told then -- once a stream: a peer must not be able to fill the log
		origin.muster_local_only_told = true;
		module:log("warn", "Dropped %s from %s to %s and drop what follows: other sites reach the component only",
			stanza.name, stanza.attr.from, stanza.attr.to);
	end
	return true;
end

for _, name in ipairs { "iq", "message", "presence" } do
	for _, target in ipairs { "bare", "full", "host" } do
		module:hook(name.."/"..target, drop, priority);
	end
end

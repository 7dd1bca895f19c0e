-- mod_muster_component_watchdog: a hung component link is noticed and closed.
--
-- Why: a component (XEP-0114) that is stopped, swapped out or cut off keeps its TCP connection, and Prosody keeps its
-- address for ever, answering nobody. Here a link that was silent for one read_timeout is pinged (XEP-0199); one that
-- says nothing at all for another read_timeout is closed, so that senders get an error and the address is free.
-- Anything received counts as life: a busy component is never pinged, and any answer to the ping will do.
--
-- Load it on each component. The period is `network_settings.read_timeout` (global, seconds): a hung link is closed
-- after two of them at most.

local st = require "util.stanza";
local new_id = require "util.id".short;

-- The ping comes from the parent domain: the answer must not be addressed to the component itself.
local parent = module.host:match("^[^.]+%.(.+)$") or module.host;

module:hook("component-authenticated", function (event)
	local session = event.session;
	local feed = session.data;
	function session.data(...)
		session.muster_pinged = nil;
		return feed(...);
	end
end);

-- Above mod_component's own handler (-1), which sends a space and never gives up. True keeps the link, false closes it.
module:hook("component-read-timeout", function (event)
	local session = event.session;
	if session.type ~= "component" then return false; end
	if session.muster_pinged then
		module:log("warn", "The component did not answer a ping and sent nothing since: closing its link");
		return false;
	end
	session.muster_pinged = true;
	session.send(st.iq({ type = "get", id = "watchdog-"..new_id(), from = parent, to = module.host })
		:tag("ping", { xmlns = "urn:xmpp:ping" }));
	return true;
end, 10);

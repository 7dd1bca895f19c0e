-- mod_muster_component_tls: cluster managers on other machines link inside TLS, certificates verified both ways.
--
-- Why: the component protocol (XEP-0114) is plain TCP, and its handshake proves no more than that both know a secret:
-- beyond loopback anybody on the way reads and changes everything. Here is a second port that speaks TLS from the first
-- byte. Whoever connects must show a certificate that our authority signed for a manager of this site, and only then
-- talks to Prosody's own component listener. The plain port is left as it is: keep it on loopback.
--
-- Load it on each component. Options:
--   global, required: muster_component_tls_ssl = { key = "..."; certificate = "..."; cafile = "..."; capath = false }
--     `cafile` alone says who may sign managers' certificates; without it the port is not opened.
--   global: muster_component_tls_ports = { 5348 }; muster_component_tls_interfaces = { "192.0.2.1" }
--   each component: muster_component_tls_names = { "cm-a.alpha.example" }
--     DNS names of which a certificate needs one in order to link as this component; the component's own if not given.
--
-- A refusal is a stream error `not-authorized` whose text says what is wrong with the certificate. It is sent once the
-- stream was opened, not as an alert of the handshake: by TLS 1.3 a client has long begun to write when the alert comes,
-- and often loses it.

module:set_global();

local portmanager = require "core.portmanager";
local verify_identity = require "util.x509".verify_identity;

local sessions = module:shared("/*/component/sessions");

-- Prosody's own, whenever it is asked for: mod_component may be loaded after us, and loaded anew.
local function component_listener()
	local service = portmanager.get_service("component");
	return service and service.listener or {};
end

-- What is wrong with the other end's certificate, or nil.
local function chain_fault(socket)
	if not socket:getpeercertificate() then return "no certificate was shown"; end
	local valid, errors = socket:getpeerverification();
	if valid then return nil; end
	local found = {};
	for _, at_depth in pairs(type(errors) == "table" and errors or {}) do
		for _, fault in pairs(at_depth) do found[#found + 1] = fault; end
	end
	table.sort(found);
	return found[1] and table.concat(found, ", ") or "it does not verify";
end

local function refuse(session, text)
	session.log("warn", "Refused a manager's link from %s: %s", session.conn:ip(), text);
	session:close({ condition = "not-authorized", text = text });
end

local listener = {};

function listener.onconnect(conn)
	local onconnect = component_listener().onconnect;
	if not onconnect then return conn:close(); end
	onconnect(conn);
	local session = sessions[conn];
	if not session then return conn:close(); end
	local socket = conn:socket();
	session.muster_tls = { certificate = socket:getpeercertificate(), fault = chain_fault(socket) };
end

function listener.onincoming(conn, data)
	local session = sessions[conn];
	if not session then return; end
	-- Nothing that is said without a good certificate is even parsed.
	if not session.muster_tls or session.muster_tls.fault then
		return refuse(session, "The manager's certificate is refused: "
			..(session.muster_tls and session.muster_tls.fault or "it was not looked at"));
	end
	return component_listener().onincoming(conn, data);
end

for _, event in ipairs { "ondisconnect", "ondetach", "onreadtimeout" } do
	listener[event] = function (...)
		local handle = component_listener()[event];
		return handle and handle(...);
	end
end

function module.add_host(module)
	if module:get_host_type() ~= "component" then
		error("mod_muster_component_tls belongs on components", 0);
	end

	-- Above mod_component's own check of the secret (-1), which would already take the address from whoever holds it.
	module:hook("stanza/jabber:component:accept:handshake", function (event)
		local session = event.origin;
		local tls = session.muster_tls;
		if not tls or session.type ~= "component_unauthed" then return; end -- loopback, or linked already
		local names = module:get_option_array("muster_component_tls_names", { module.host });
		for _, name in ipairs(names) do
			if verify_identity(name, nil, tls.certificate) then return; end
		end
		refuse(session, "The manager's certificate is refused: "..module.host.." takes one for "..table.concat(names, " or "));
		return true;
	end, 1000);
end

local ssl = module:get_option("muster_component_tls_ssl");
if type(ssl) ~= "table" or type(ssl.cafile) ~= "string" then
	module:log("error", "muster_component_tls_ssl needs a cafile, the authority of the managers: the port stays closed");
else
	module:provides("net", {
		name = "muster_component_tls";
		listener = listener;
		default_port = 5348;
		encryption = "ssl";
		-- A certificate that does not verify is taken here, and refused above with words.
		ssl_config = { verify = { "peer" }; verifyext = { lsec_continue = true; lsec_ignore_purpose = false } };
	});
	-- One certificate and one way to verify, whatever server name the other end asks for: the portmanager would answer a
	-- name of ours from a context that has its defaults mixed in again.
	for _, _, _, _, active in portmanager.get_active_services():iter("muster_component_tls", nil, nil, nil) do
		active.server.hosts = setmetatable({}, { __newindex = function () end });
	end
end

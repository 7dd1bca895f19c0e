%% mod_muster: what a site of Muster needs of its ejabberd beyond configuration.
%%
%% 1. Peers reach `cloud.<host>` and nothing else: what another site sends to an account or to a manager's own component
%%    is dropped. A valid certificate says who somebody is, not that we have a peering with them: streams of domains that
%%    are not on the list are not let in, their stanzas are dropped, and none is opened to them.
%% 2. The list is set at run time, by an IQ set from `cloud.<host>` to `<host>` (all others get `forbidden`):
%%      <peers xmlns='urn:muster:peers:1'><peer>cloud.beta.example</peer>...</peers>
%%    It takes the place of the one before, and of the option `peers`. `bad-request` where an entry is no domain,
%%    `resource-constraint` where there are too many.
%% 3. A component that links takes its address from whoever had it. ejabberd alone would share the stanzas out between
%%    both, at random, and a leader that hangs would swallow its part.
%% 4. What is sent to one of the site's components while none is linked is answered with remote-server-timeout, to be tried
%%    again; ejabberd alone would answer that it is forbidden.
%% 5. An account `cloud-<domain>`, as which a peer comes whose own server takes no connections, speaks with `cloud.<host>` and
%%    with nobody else.
%%
%% Written for ejabberd 23.01 without its header files: stanzas are read through the functions of the xmpp library.
-module(mod_muster).
-behaviour(gen_mod).

-export([start/2, stop/1, reload/3, depends/2, mod_opt_type/1, mod_options/1, mod_doc/0]).
-export([filter_packet/1, component_connected/1, s2s_allow_host/3, s2s_receive_packet/1, process_iq/1, decode_iq_subel/1]).
-export([user_send_packet/1, user_receive_packet/1]).

-define(NS_PEERS, <<"urn:muster:peers:1">>).
-define(PEERS_MAX, 2000).

start(Host, Opts) ->
    set_peers(Host, gen_mod:get_opt(peers, Opts)),
    ejabberd_hooks:add(filter_packet, ?MODULE, filter_packet, 50),
    ejabberd_hooks:add(component_connected, ?MODULE, component_connected, 50),
    ejabberd_hooks:add(user_send_packet, Host, ?MODULE, user_send_packet, 10),
    ejabberd_hooks:add(user_receive_packet, Host, ?MODULE, user_receive_packet, 10),
    ejabberd_hooks:add(s2s_allow_host, Host, ?MODULE, s2s_allow_host, 50),
    ejabberd_hooks:add(s2s_receive_packet, Host, ?MODULE, s2s_receive_packet, 10),
    gen_iq_handler:add_iq_handler(ejabberd_local, Host, ?NS_PEERS, ?MODULE, process_iq),
    ok.

stop(Host) ->
    ejabberd_hooks:delete(filter_packet, ?MODULE, filter_packet, 50),
    ejabberd_hooks:delete(component_connected, ?MODULE, component_connected, 50),
    ejabberd_hooks:delete(user_send_packet, Host, ?MODULE, user_send_packet, 10),
    ejabberd_hooks:delete(user_receive_packet, Host, ?MODULE, user_receive_packet, 10),
    ejabberd_hooks:delete(s2s_allow_host, Host, ?MODULE, s2s_allow_host, 50),
    ejabberd_hooks:delete(s2s_receive_packet, Host, ?MODULE, s2s_receive_packet, 10),
    gen_iq_handler:remove_iq_handler(ejabberd_local, Host, ?NS_PEERS),
    persistent_term:erase({?MODULE, peers, Host}),
    ok.

%% The option counts only until the site's leader has set a list.
reload(Host, NewOpts, OldOpts) ->
    case peers(Host) =:= set_of(gen_mod:get_opt(peers, OldOpts)) of
        true -> change_peers(Host, gen_mod:get_opt(peers, NewOpts));
        false -> ok
    end.

depends(_Host, _Opts) -> [].
mod_opt_type(peers) -> econf:list(econf:domain()).
mod_options(_Host) -> [{peers, []}].
mod_doc() -> #{}.

filter_packet(drop) -> drop;
filter_packet(Packet) ->
    {_, To, _} = jid:tolower(xmpp:get_to(Packet)),
    case is_component(To) andalso mnesia:dirty_read(route, To) =:= [] of
        true ->
            ejabberd_router:route_error(Packet, xmpp:err_remote_server_timeout(<<"No manager is linked">>, <<"en">>)),
            drop;
        false -> Packet
    end.

is_component(Domain) ->
    case binary:split(Domain, <<".">>) of
        [<<"cloud">>, Host] -> lists:member(Host, ejabberd_option:hosts());
        [<<"cm-", _/binary>>, Host] -> lists:member(Host, ejabberd_option:hosts());
        _ -> false
    end.

%% Runs in the process of the new link, after its route was added. The old one's is taken away first: its process may be
%% stuck in a send, and would be given stanzas for as long.
component_connected(Domain) ->
    Others = [Pid || {route, _, _, Pid, _} <- mnesia:dirty_read(route, Domain), is_pid(Pid), Pid =/= self()],
    lists:foreach(
      fun(Pid) ->
              ejabberd_router:unregister_route(Domain, Pid),
              ejabberd_service:send(Pid, xmpp:serr_conflict(<<"Another link took the address">>, <<"en">>)),
              ejabberd_service:stop_async(Pid)
      end, Others),
    ok.

s2s_allow_host(deny, _MyHost, _Other) -> {stop, deny};
s2s_allow_host(Allow, MyHost, Other) ->
    case is_peer(MyHost, Other) of
        true -> Allow;
        false -> {stop, deny}
    end.

s2s_receive_packet({drop, State}) -> {drop, State};
s2s_receive_packet({Packet, State}) ->
    {_, From, _} = jid:tolower(xmpp:get_from(Packet)),
    {_, To, _} = jid:tolower(xmpp:get_to(Packet)),
    Host = ejabberd_router:host_of_route(To),
    case To =:= cloud(Host) andalso is_peer(Host, From) of
        true -> {Packet, State};
        false -> {stop, {drop, State}}
    end.

user_send_packet({Packet, #{jid := Jid} = State}) when Packet =/= drop ->
    {User, Host, _} = jid:tolower(Jid),
    case is_peer_account(User) andalso not may_send(Packet, Host) of
        true ->
            ejabberd_router:route_error(Packet, xmpp:err_forbidden(<<"This account speaks with cloud. only">>, <<"en">>)),
            {stop, {drop, State}};
        false -> {Packet, State}
    end;
user_send_packet(Acc) -> Acc.

may_send(Packet, Host) ->
    {ToUser, ToHost, _} = jid:tolower(xmpp:get_to(Packet)),
    Cloud = cloud(Host),
    case {ToHost, ToUser, element(1, Packet), xmpp:get_type(Packet)} of
        {Cloud, _, _, _} -> true;
        {Host, <<>>, iq, Type} when Type =:= result; Type =:= error -> true;
        {Host, <<>>, iq, _} -> [xmpp:get_ns(El) || El <- xmpp:get_els(Packet)] =:= [<<"urn:xmpp:ping">>];
        _ -> false
    end.

user_receive_packet({Packet, #{jid := Jid} = State}) when Packet =/= drop ->
    {User, Host, _} = jid:tolower(Jid),
    {FromUser, FromHost, _} = jid:tolower(xmpp:get_from(Packet)),
    %% From the component, from the server itself, from the account's own sessions, or what came back.
    IsHome = FromHost =:= cloud(Host) orelse (FromHost =:= Host andalso (FromUser =:= <<>> orelse FromUser =:= User)),
    case is_peer_account(User) andalso not IsHome andalso xmpp:get_type(Packet) =/= error of
        true -> {stop, {drop, State}};
        false -> {Packet, State}
    end;
user_receive_packet(Acc) -> Acc.

is_peer_account(<<"cloud-", _/binary>>) -> true;
is_peer_account(_) -> false.

%% The namespace is ours: there is no decoder for it in the xmpp library.
decode_iq_subel(Element) -> Element.

process_iq(IQ) ->
    {_, Host, _} = jid:tolower(xmpp:get_to(IQ)),
    {_, Asker, _} = jid:tolower(xmpp:get_from(IQ)),
    case {xmpp:get_type(IQ), Asker =:= cloud(Host)} of
        {set, true} ->
            [Element | _] = xmpp:get_els(IQ),
            take_list(IQ, Host, [fxml:get_tag_cdata(Peer) || Peer <- fxml:get_subtags(Element, <<"peer">>)]);
        {set, false} ->
            Text = <<"Only ", (cloud(Host))/binary, " may set its peers">>,
            xmpp:make_error(IQ, xmpp:err_forbidden(Text, <<"en">>));
        _ ->
            xmpp:make_error(IQ, xmpp:err_not_allowed(<<"The list is set, not read">>, <<"en">>))
    end.

take_list(IQ, _Host, Peers) when length(Peers) > ?PEERS_MAX ->
    xmpp:make_error(IQ, xmpp:err_resource_constraint(<<"At most 2000 peers">>, <<"en">>));
take_list(IQ, Host, Peers) ->
    case lists:all(fun is_domain/1, Peers) of
        true ->
            change_peers(Host, Peers),
            xmpp:make_iq_result(IQ);
        false ->
            xmpp:make_error(IQ, xmpp:err_bad_request(<<"peer: not a domain name">>, <<"en">>))
    end.

%% Exactly as servers compare it: lower case, without local part and resource.
is_domain(Text) when byte_size(Text) > 0, byte_size(Text) =< 253 ->
    binary:match(Text, [<<"@">>, <<"/">>, <<" ">>]) =:= nomatch andalso jid:nameprep(Text) =:= Text;
is_domain(_) -> false.

cloud(Host) -> <<"cloud.", Host/binary>>.

is_peer(Host, Domain) -> maps:is_key(Domain, peers(Host)).

peers(Host) -> persistent_term:get({?MODULE, peers, Host}, #{}).

set_of(Peers) -> maps:from_list([{Peer, true} || Peer <- Peers]).

set_peers(Host, Peers) -> persistent_term:put({?MODULE, peers, Host}, set_of(Peers)).

%% Streams to those who are no peers any more are closed; what comes on theirs is dropped from now on.
change_peers(Host, Peers) ->
    set_peers(Host, Peers),
    Cloud = cloud(Host),
    Former = [Pair || {From, To} = Pair <- ejabberd_s2s:dirty_get_connections(),
                      From =:= Cloud, not is_peer(Host, To)],
    [ejabberd_s2s_out:stop_async(Pid) || Pair <- Former, Pid <- ejabberd_s2s:get_connections_pids(Pair)],
    ok.

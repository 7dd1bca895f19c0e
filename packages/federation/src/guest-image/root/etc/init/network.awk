# From network-config version 2 (https://cloudinit.readthedocs.io/en/latest/reference/network-config-format-v2.html), in YAML
# or JSON, to one line an interface: ID MAC MTU DHCP ADDRESSES GATEWAYS NAMESERVERS, lists with commas, `-` for what is not said.
function flush_interface() {
  if (id != "") print id, mac, mtu, dhcp, addresses, gateways, nameservers
  mac = mtu = addresses = gateways = nameservers = "-"; dhcp = "false"; to = "default"
}
function add(list, value) { return list == "-" ? value : list "," value }
function take(key, value) {
  if (key == "macaddress") mac = tolower(value)
  else if (key == "mtu") mtu = value
  else if (key == "dhcp4") dhcp = value
  else if (key == "gateway4" || key == "gateway6") gateways = add(gateways, value)
  else if (key == "to") to = value
  else if (key == "via") { if (to == "default" || to ~ /\/0$/) gateways = add(gateways, value) }
  # An interface's own addresses have a prefix length, those of name servers have none.
  else if (key == "addresses") { if (value ~ /\//) addresses = add(addresses, value); else nameservers = add(nameservers, value) }
}
BEGIN {
  count = split("network version renderer ethernets match macaddress name set-name mtu dhcp4 dhcp6 dhcp-identifier addresses gateway4 gateway6 routes to via metric on-link nameservers search accept-ra optional wakeonlan critical", names, " ")
  for (i = 1; i <= count; i++) known[names[i]] = 1
  flush_interface()
}
{
  sub(/(^|[ \t])#.*$/, "")
  gsub(/["'\047]/, "")
  gsub(/[][{},]/, " ")
  count = split($0, words, /[ \t]+/)
  for (i = 1; i <= count; i++) {
    word = words[i]
    if (word == "" || word == "-") continue
    colon = index(word, ":")
    head = substr(word, 1, colon - 1)
    rest = substr(word, colon + 1)
    if (colon > 0 && (head in known)) {
      key = head
      if (key == "ethernets") inside = 1
      if (rest != "") take(key, rest)
    } else if (inside && colon == length(word)) {
      flush_interface()
      id = head
      key = ""
    } else take(key, word)
  }
}
END { flush_interface() }

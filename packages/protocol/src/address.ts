/** Addresses of a site and of what lives below it (XMPP addresses, RFC 7622). */

/** The site's public face, bound by its leader. */
export function cloudAddress(domain: string): string {
  return `cloud.${domain}`;
}

/** The domain of the site whose cloud address this is, or `undefined` when it is none. */
export function siteOfCloud(address: string): string | undefined {
  const domain = domainOf(address);
  return domain.startsWith("cloud.") ? domain.slice("cloud.".length) : undefined;
}

/** Client account of a host manager. */
export function hostAccount(host: string, domain: string): string {
  return `host-${host}@${domain}`;
}

/** Virtual contact of a host. */
export function hostContact(host: string, domain: string): string {
  return `host-${host}@${cloudAddress(domain)}`;
}

/** Virtual contact of a VM. */
export function vmContact(vm: string, domain: string): string {
  return `vm-${vm}@${cloudAddress(domain)}`;
}

/** Component of one manager, for beats and hand-over. */
export function managerAddress(manager: string, domain: string): string {
  return `cm-${manager}.${domain}`;
}

export function bareOf(address: string): string {
  const slash = address.indexOf("/");
  return slash < 0 ? address : address.slice(0, slash);
}

export function domainOf(address: string): string {
  const bare = bareOf(address);
  const at = bare.indexOf("@");
  return at < 0 ? bare : bare.slice(at + 1);
}

/** Part before the `@`, or `undefined` for a bare domain. */
export function localOf(address: string): string | undefined {
  const bare = bareOf(address);
  const at = bare.indexOf("@");
  return at < 0 ? undefined : bare.slice(0, at);
}

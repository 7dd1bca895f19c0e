/** Where and as whom a client logs in. */
export type Login = {
  readonly address: string;
  readonly domain: string;
  readonly name: string;
  readonly password: string;
  /** The only authority that is trusted; the server's certificate is checked against it and the domain. */
  readonly ca: string;
};

/** What the proxy tells the page before anyone has logged in. */
export interface Config {
  /** Address of the OpenID Connect issuer, as the browser reaches it. */
  readonly issuer: string;
  readonly client_id: string;
}

export async function loadConfig(): Promise<Config> {
  const response = await fetch("/ui/config.json", { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) {
    throw new Error("The server did not say where to log in. Reload the page in a moment.");
  }
  return (await response.json()) as Config;
}

import { afterEach, expect, test, vi } from "vitest";
import { Issuer } from "./issuer";
import { keepPendingLogin, newPendingLogin, takePendingLogin, type PendingLogin } from "./pending";

const ISSUER = "https://login.example.com/realms/demo";
const CONFIG = { issuer: ISSUER, client_id: "terminal-widget" };
const CALLBACK = "https://proxy.example.com/ui/callback";
// The verifier and challenge of RFC 7636, appendix B.
const PENDING: PendingLogin = { state: "s", nonce: "n", verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", place: "", manner: "ask" };
const CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

afterEach(() => {
  vi.unstubAllGlobals();
});

test("the login's address carries the S256 challenge, the state and the nonce, never the verifier", async () => {
  const url = await (await issuer()).loginUrl(PENDING, CALLBACK);

  expect(Object.fromEntries(url.searchParams)).toEqual({
    response_type: "code",
    client_id: "terminal-widget",
    redirect_uri: CALLBACK,
    scope: "openid",
    state: "s",
    nonce: "n",
    code_challenge: CHALLENGE,
    code_challenge_method: "S256",
  });
});

test("the code is redeemed with the verifier", async () => {
  const asked = answer({ id_token: idToken({ nonce: "n" }) });

  const tokens = await (await issuer()).redeem(new URL(`${CALLBACK}?code=c&state=s`), PENDING, CALLBACK);

  expect(tokens).toMatchObject({ accessToken: "access", expiresInSeconds: 300, refreshToken: "again" });
  expect(asked.at(-1)).toContain(`code_verifier=${PENDING.verifier}`);
});

test("an answer with another state is not redeemed", async () => {
  const asked = answer({ id_token: idToken({ nonce: "n" }) });

  await expect((await issuer()).redeem(new URL(`${CALLBACK}?code=c&state=forged`), PENDING, CALLBACK)).rejects.toThrow();

  expect(asked).toHaveLength(1);
});

test.each([
  ["another nonce", { nonce: "replayed" }],
  ["another client", { aud: "someone-else" }],
  ["another issuer", { iss: "https://evil.example.com" }],
])("an id token for %s is refused", async (_what, claims) => {
  answer({ id_token: idToken({ nonce: "n", ...claims }) });

  await expect((await issuer()).redeem(new URL(`${CALLBACK}?code=c&state=s`), PENDING, CALLBACK)).rejects.toThrow();
});

test("a pending login is handed out once", () => {
  const storage = new FakeStorage() as unknown as Storage;
  const pending = newPendingLogin("/#filter=pump", "ask");
  const callback = new URL(`${CALLBACK}?code=c&state=${pending.state}`);
  keepPendingLogin(storage, pending);

  expect(takePendingLogin(storage, callback)).toEqual(pending);
  expect(takePendingLogin(storage, callback)).toBeUndefined();
});

function issuer(): Promise<Issuer> {
  if (!vi.isMockFunction(globalThis.fetch)) {
    answer({});
  }
  return Issuer.discover(CONFIG);
}

/** An issuer that answers every token request with this; gives back the bodies it was sent. */
function answer(tokens: Record<string, string>): string[] {
  const asked: string[] = [];
  const fetch = vi.fn((address: string, init: RequestInit) => {
    asked.push(String(init.body ?? ""));
    const body = address.includes("/.well-known/") ? METADATA : { access_token: "access", token_type: "Bearer", expires_in: 300, refresh_token: "again", ...tokens };
    return Promise.resolve(Response.json(body));
  });
  vi.stubGlobal("fetch", fetch);
  return asked;
}

const METADATA = {
  issuer: ISSUER,
  authorization_endpoint: `${ISSUER}/auth`,
  token_endpoint: `${ISSUER}/token`,
};

function idToken(claims: Record<string, string>): string {
  const now = Math.floor(Date.now() / 1000);
  const part = (value: unknown): string => btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const payload = { iss: ISSUER, aud: "terminal-widget", sub: "user-1", iat: now, exp: now + 300, ...claims };
  return `${part({ alg: "RS256" })}.${part(payload)}.${part("signature")}`;
}

class FakeStorage {
  private readonly items = new Map<string, string>();
  getItem(key: string): string | null {
    return this.items.get(key) ?? null;
  }
  setItem(key: string, value: string): void {
    this.items.set(key, value);
  }
  removeItem(key: string): void {
    this.items.delete(key);
  }
}

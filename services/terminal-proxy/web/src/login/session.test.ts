import { expect, test } from "vitest";
import * as oauth from "oauth4webapi";
import type { Tokens } from "./issuer";
import { LoginSession } from "./session";

test("a token is used until shortly before its end, then renewed once for all who ask", async () => {
  const world = new World();
  const session = world.session(tokens({ expiresInSeconds: 300 }));

  world.pass(269);
  expect(await session.accessToken()).toBe("first");
  world.pass(1);
  const given = await Promise.all([session.accessToken(), session.accessToken()]);

  expect(given).toEqual(["renewed-1", "renewed-1"]);
  expect(world.renewals).toBe(1);
});

test("without a refresh token the login ends when its token does", async () => {
  const world = new World();
  const session = world.session(tokens({ refreshToken: undefined }));

  world.pass(290);
  expect(await session.accessToken()).toBe("first");
  world.pass(10);

  await expect(session.accessToken()).rejects.toMatchObject({ slug: "login-ended" });
  expect(world.endings).toBe(1);
});

test("the issuer's refusal ends the login, and is not asked for again", async () => {
  const world = new World();
  world.failure = new oauth.ResponseBodyError("refused", { cause: { error: "invalid_grant" }, response: new Response(null, { status: 400 }) });
  const session = world.session(tokens({}));

  world.pass(280);
  await expect(session.accessToken()).rejects.toMatchObject({ slug: "login-ended" });
  await expect(session.accessToken()).rejects.toMatchObject({ slug: "login-ended" });

  expect(world.renewals).toBe(1);
  expect(world.endings).toBe(1);
});

test("an issuer that is away does not end a login that is still good", async () => {
  const world = new World();
  world.failure = new TypeError("Failed to fetch");
  const session = world.session(tokens({}));

  world.pass(280);
  expect(await session.accessToken()).toBe("first");
  world.pass(20);

  await expect(session.accessToken()).rejects.toMatchObject({ status: 0 });
  expect(world.endings).toBe(0);
});

test("an old token that the proxy refuses is renewed", async () => {
  const world = new World();
  const session = world.session(tokens({}));

  world.pass(60);
  session.rejectToken();

  expect(await session.accessToken()).toBe("renewed-1");
});

test("a new token that the proxy refuses ends the login instead of renewing for ever", async () => {
  const world = new World();
  const session = world.session(tokens({}));

  session.rejectToken();

  await expect(session.accessToken()).rejects.toMatchObject({ slug: "login-ended" });
  expect(world.renewals).toBe(0);
});

/** A clock that the test moves and an issuer that counts. */
class World {
  renewals = 0;
  endings = 0;
  failure: Error | undefined;
  private milliseconds = 1_000_000;

  session(first: Tokens): LoginSession {
    const session = new LoginSession({ refresh: () => this.refresh() }, first, () => this.milliseconds);
    session.onEnded = () => {
      this.endings += 1;
    };
    return session;
  }

  pass(seconds: number): void {
    this.milliseconds += seconds * 1000;
  }

  private refresh(): Promise<Tokens> {
    this.renewals += 1;
    return this.failure === undefined ? Promise.resolve(tokens({ accessToken: `renewed-${this.renewals}` })) : Promise.reject(this.failure);
  }
}

function tokens(known: Partial<Tokens>): Tokens {
  return { accessToken: "first", expiresInSeconds: 300, refreshToken: "again", idToken: undefined, ...known };
}

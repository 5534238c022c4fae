//! The processes of terminal-proxy, and what they hand to each other.

use async_trait::async_trait;

use super::Store;
use super::sessions::{ORPHANED, new_session};
use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use crate::domain::{Digest, ForwardPass, NewSession, ProxyProcesses, SessionLedger as _, StoreError, Timestamp};

#[async_trait]
impl ProxyProcesses for Store {
    async fn announce(&self, instance: &str, url: Option<&str>, alive_until: Timestamp) -> Result<(), StoreError> {
        let statement = || {
            sql(
                "INSERT INTO proxy_process (instance, url, alive_until) VALUES ($1, $2, $3)
                 ON CONFLICT (instance) DO UPDATE SET url = excluded.url, alive_until = excluded.alive_until",
            )
            .bind_text(instance)
            .bind_optional(url.map(str::to_owned).as_ref())
            .bind(&alive_until)
        };
        in_transaction!(self, |transaction| transaction.execute(statement()))
            .await
            .map(drop)
    }

    async fn process_url(&self, instance: &str) -> Result<Option<String>, StoreError> {
        let now = self.shared.clock.now();
        let statement = sql("SELECT url FROM proxy_process WHERE instance = $1 AND alive_until > $2");
        let row = self.optional(statement.bind_text(instance).bind(&now)).await?;
        row.map_or(Ok(None), |row| row.optional("url"))
    }

    async fn close_sessions_of_the_dead(&self) -> Result<u64, StoreError> {
        let orphans = sessions_of_the_dead(self).await?;
        for session in &orphans {
            self.close_session(session, &ORPHANED).await?;
        }
        in_transaction!(self, |transaction| forget_the_dead(transaction)).await?;
        Ok(orphans.len() as u64)
    }

    async fn issue_pass(&self, secret: &Digest, pass: &ForwardPass) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| issue(transaction, secret, pass)).await
    }

    async fn redeem_pass(&self, secret: &Digest, instance: &str) -> Result<Option<ForwardPass>, StoreError> {
        in_transaction!(self, |transaction| redeem(transaction, secret, instance)).await
    }
}

/// Who never announced itself is not known to be dead.
async fn sessions_of_the_dead(store: &Store) -> Result<Vec<NewSession>, StoreError> {
    let now = store.shared.clock.now();
    let statement = sql(
        "SELECT session.id, device_id, device_epoch, subject, username, session.instance, client_address, recorded
                         FROM session JOIN proxy_process ON proxy_process.instance = session.instance
                         WHERE session.closed_at IS NULL AND proxy_process.alive_until <= $1
                         ORDER BY session.id LIMIT 1000",
    );
    let rows = store.all(statement.bind(&now)).await?;
    rows.iter().map(new_session).collect()
}

async fn forget_the_dead(transaction: &mut Transaction) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("DELETE FROM proxy_process
                         WHERE alive_until <= $1 AND instance NOT IN
                             (SELECT instance FROM session WHERE closed_at IS NULL)");
    transaction.execute(statement.bind(&now)).await.map(drop)
}

async fn issue(transaction: &mut Transaction, secret: &Digest, pass: &ForwardPass) -> Result<(), StoreError> {
    let now = transaction.now;
    transaction
        .execute(sql("DELETE FROM forward_pass WHERE expires_at <= $1").bind(&now))
        .await?;
    let statement = sql(
        "INSERT INTO forward_pass (secret_hash, instance, client_address, expires_at)
                         VALUES ($1, $2, $3, $4)",
    )
    .bind(secret)
    .bind(&pass.instance)
    .bind(&pass.client_address)
    .bind(&pass.expires_at);
    transaction.execute(statement).await.map(drop)
}

async fn redeem(
    transaction: &mut Transaction,
    secret: &Digest,
    instance: &str,
) -> Result<Option<ForwardPass>, StoreError> {
    // Of all who try at once, the row goes to one.
    let statement = sql("DELETE FROM forward_pass WHERE secret_hash = $1
                         RETURNING instance, client_address, expires_at");
    let row = transaction.optional(statement.bind(secret)).await?;
    let pass = row.as_ref().map(pass).transpose()?;
    Ok(pass.filter(|pass| pass.instance == instance && transaction.now < pass.expires_at))
}

fn pass(row: &Row) -> Result<ForwardPass, StoreError> {
    Ok(ForwardPass {
        instance: row.get("instance")?,
        client_address: row.get("client_address")?,
        expires_at: row.get("expires_at")?,
    })
}

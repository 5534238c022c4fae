//! One-time tickets.

use async_trait::async_trait;

use super::Store;
use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use crate::domain::{Digest, StoreError, Ticket, TicketOffice};

#[async_trait]
impl TicketOffice for Store {
    async fn issue_ticket(&self, secret: &Digest, ticket: &Ticket) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| issue(transaction, secret, ticket)).await
    }

    async fn redeem_ticket(&self, secret: &Digest) -> Result<Option<Ticket>, StoreError> {
        in_transaction!(self, |transaction| redeem(transaction, secret)).await
    }
}

async fn issue(transaction: &mut Transaction, secret: &Digest, ticket: &Ticket) -> Result<(), StoreError> {
    let operator = serde_json::to_value(&ticket.operator).expect("a person is text and numbers");
    let now = transaction.now;
    transaction
        .execute(sql("DELETE FROM ticket WHERE expires_at <= $1").bind(&now))
        .await?;
    let statement = sql(
        "INSERT INTO ticket (secret_hash, operator, device_id, origin, expires_at, purpose, sealed_token)
                         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(secret)
    .bind(&operator)
    .bind(&ticket.device_id)
    .bind_optional(ticket.origin.as_ref())
    .bind(&ticket.expires_at)
    .bind(&ticket.purpose)
    .bind_optional(ticket.sealed_token.as_ref());
    transaction.execute(statement).await.map(drop)
}

async fn redeem(transaction: &mut Transaction, secret: &Digest) -> Result<Option<Ticket>, StoreError> {
    // Of all who try at once, the row goes to one.
    let statement = sql("DELETE FROM ticket WHERE secret_hash = $1
                         RETURNING operator, device_id, origin, expires_at, purpose, sealed_token");
    let row = transaction.optional(statement.bind(secret)).await?;
    let ticket = row.as_ref().map(ticket_record).transpose()?;
    Ok(ticket.filter(|ticket| transaction.now < ticket.expires_at))
}

fn ticket_record(row: &Row) -> Result<Ticket, StoreError> {
    Ok(Ticket {
        purpose: row.get("purpose")?,
        operator: serde_json::from_value(row.get("operator")?).map_err(|_| StoreError::Corrupt {
            column: "ticket.operator",
        })?,
        device_id: row.get("device_id")?,
        origin: row.optional("origin")?,
        expires_at: row.get("expires_at")?,
        sealed_token: row.optional("sealed_token")?,
    })
}

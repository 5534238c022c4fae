use std::sync::Arc;

use async_trait::async_trait;
use common::chassis::health::Probe;
use common::store::Store;

use crate::ports::Storage;

impl From<Store> for Storage {
    fn from(store: Store) -> Self {
        let store = Arc::new(store);
        Self {
            directory: Arc::clone(&store) as _,
            plan: Arc::clone(&store) as _,
            ledger: Arc::clone(&store) as _,
            processes: Arc::clone(&store) as _,
            tickets: Arc::clone(&store) as _,
            audit: Arc::clone(&store) as _,
            probe: Arc::new(DatabaseProbe(store)),
        }
    }
}

struct DatabaseProbe(Arc<Store>);

#[async_trait]
impl Probe for DatabaseProbe {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.ping().await.map_err(|error| error.to_string())
    }
}

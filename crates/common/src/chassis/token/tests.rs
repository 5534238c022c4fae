mod cache;
mod claims;
mod forge;
mod header;
mod keys;
mod rules;

//! Cases by hand. A name begins with the rule that the case is about, or with `legal` where it is about none in particular.

mod blocks;
mod caches;
mod contexts;
mod encodings;
mod explanations;
mod faults;
mod flags;
mod geometry;
mod groups;
mod invalidation;
mod leaving;
mod lifetime;
mod locks;
mod operations;
mod ownership;
mod permissions;
mod publication;
mod registers;
mod replacing;
mod rounds;
mod shapes;
mod tables;
mod vmids;
mod walks;
mod wellformed;

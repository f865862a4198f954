//! Ordered trees whose links lie in what they order: AVL trees over an arena. Nothing here takes memory, so that nothing can
//! fail. Each node can take notes on all that is below it.
//!
//! Splitting at a key and joining cost as much as inserting: the logarithm of the number of nodes (Blelloch, Ferizovic, Sun:
//! "Just join for parallel ordered sets", 2016). Recursion is as deep as the tree is high: at most 1.44 log2 of that number.

use crate::arena::{Arena, Id};

/// What can be in a tree.
pub(crate) trait Node: Sized {
    /// What a tree is ordered by.
    type Key: Copy + Ord;
    /// What a node knows of itself and all that is below it.
    type Notes: Copy;

    /// Returns the node's key; no two nodes of a tree have the same.
    fn key(&self) -> Self::Key;

    fn links(&self) -> &Links<Self>;

    fn links_mut(&mut self) -> &mut Links<Self>;

    /// Returns the notes of a node over subtrees with these.
    fn notes(&self, left: Option<Self::Notes>, right: Option<Self::Notes>) -> Self::Notes;
}

/// A node's place in its tree.
pub(crate) struct Links<T: Node> {
    pub(crate) left: Option<Id<T>>,
    pub(crate) right: Option<Id<T>>,
    height: u32,
    pub(crate) notes: T::Notes,
}

impl<T: Node> Links<T> {
    /// Returns the links of what is in no tree.
    pub(crate) const fn new(notes: T::Notes) -> Self {
        Self { left: None, right: None, height: 1, notes }
    }
}

/// A tree, by its root.
pub(crate) struct Tree<T> {
    pub(crate) root: Option<Id<T>>,
}

impl<T> Clone for Tree<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Tree<T> {}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<T: Node> Tree<T> {
    /// Adds a node that is in no tree.
    pub(crate) fn insert(&mut self, nodes: &mut Arena<T>, id: Id<T>) {
        let _ = put_below(nodes, id, None, None);
        self.root = Some(insert(nodes, self.root, id));
    }

    /// Adds a node that is in no tree, and whose key is above all others: a little more than half of what
    /// [`Tree::insert`] costs.
    pub(crate) fn push(&mut self, nodes: &mut Arena<T>, id: Id<T>) {
        self.root = Some(join(nodes, self.root, id, None));
    }

    /// Takes the node with the key out of the tree.
    pub(crate) fn remove(&mut self, nodes: &mut Arena<T>, key: T::Key) {
        self.root = remove(nodes, self.root, key);
    }

    /// Takes note that the node with the key has changed, but not its place among the others.
    pub(crate) fn refresh(self, nodes: &mut Arena<T>, key: T::Key) {
        refresh(nodes, self.root, key);
    }

    /// Returns the last node whose key is not above `key`.
    pub(crate) fn last_up_to(self, nodes: &Arena<T>, key: T::Key) -> Option<Id<T>> {
        let (mut found, mut at) = (None, self.root);
        while let Some(id) = at {
            let is_found = nodes[id].key() <= key;
            found = if is_found { at } else { found };
            at = if is_found { nodes[id].links().right } else { nodes[id].links().left };
        }
        found
    }

    /// Returns the first node whose key is above `key`.
    pub(crate) fn first_above(self, nodes: &Arena<T>, key: T::Key) -> Option<Id<T>> {
        let (mut found, mut at) = (None, self.root);
        while let Some(id) = at {
            let is_found = nodes[id].key() > key;
            found = if is_found { at } else { found };
            at = if is_found { nodes[id].links().left } else { nodes[id].links().right };
        }
        found
    }

    /// Returns the last node.
    pub(crate) fn last(self, nodes: &Arena<T>) -> Option<Id<T>> {
        core::iter::successors(self.root, |id| nodes[*id].links().right).last()
    }

    /// Makes two trees: of the nodes whose keys are below `key`, and of the others.
    #[inline]
    pub(crate) fn split(self, nodes: &mut Arena<T>, key: T::Key) -> (Self, Self) {
        if self.root.is_none() {
            return (self, self);
        }
        let (left, right) = split(nodes, self.root, key);
        (Self { root: left }, Self { root: right })
    }

    /// Makes one tree of two, where all keys of `right` are above all of this one.
    pub(crate) fn join(self, nodes: &mut Arena<T>, right: Self) -> Self {
        let Some(root) = right.root else { return self };
        let (rest, first) = remove_first(nodes, root);
        Self { root: Some(join(nodes, self.root, first, rest)) }
    }

    /// Gives all nodes of the tree up.
    pub(crate) fn free(self, nodes: &mut Arena<T>) {
        free(nodes, self.root);
    }
}

fn height<T: Node>(nodes: &Arena<T>, node: Option<Id<T>>) -> u32 {
    node.map_or(0, |id| nodes[id].links().height)
}

/// Returns the height of a subtree, and its notes.
fn known<T: Node>(nodes: &Arena<T>, node: Option<Id<T>>) -> (u32, Option<T::Notes>) {
    node.map_or((0, None), |id| {
        let links = nodes[id].links();
        (links.height, Some(links.notes))
    })
}

/// Puts two subtrees below a node, which takes notes of them; returns their heights.
fn put_below<T: Node>(nodes: &mut Arena<T>, id: Id<T>, left: Option<Id<T>>, right: Option<Id<T>>) -> (u32, u32) {
    let ((on_left, left_notes), (on_right, right_notes)) = (known(nodes, left), known(nodes, right));
    let node = &mut nodes[id];
    let notes = node.notes(left_notes, right_notes);
    *node.links_mut() = Links { left, right, height: 1 + on_left.max(on_right), notes };
    (on_left, on_right)
}

fn rotate_right<T: Node>(nodes: &mut Arena<T>, id: Id<T>, left: Id<T>) -> Id<T> {
    let Links { left: outer, right: inner, .. } = *nodes[left].links();
    let right = nodes[id].links().right;
    let _ = put_below(nodes, id, inner, right);
    let _ = put_below(nodes, left, outer, Some(id));
    left
}

fn rotate_left<T: Node>(nodes: &mut Arena<T>, id: Id<T>, right: Id<T>) -> Id<T> {
    let Links { left: inner, right: outer, .. } = *nodes[right].links();
    let left = nodes[id].links().left;
    let _ = put_below(nodes, id, left, inner);
    let _ = put_below(nodes, right, Some(id), outer);
    right
}

/// Puts two subtrees below a node, whose heights differ by two at the most, and brings them within one; returns the node that is
/// in its place then.
fn balance<T: Node>(nodes: &mut Arena<T>, id: Id<T>, left: Option<Id<T>>, right: Option<Id<T>>) -> Id<T> {
    let (on_left, on_right) = put_below(nodes, id, left, right);
    if on_left.abs_diff(on_right) <= 1 {
        return id;
    }
    rebalance(nodes, id, on_left, on_right)
}

fn rebalance<T: Node>(nodes: &mut Arena<T>, id: Id<T>, on_left: u32, on_right: u32) -> Id<T> {
    debug_assert!(on_left.abs_diff(on_right) == 2, "a subtree was not balanced");
    match (nodes[id].links().left, nodes[id].links().right) {
        (Some(child), _) if on_left > on_right => {
            let (outer, inner) = (nodes[child].links().left, nodes[child].links().right);
            let child = match inner {
                Some(inner_id) if height(nodes, inner) > height(nodes, outer) => rotate_left(nodes, child, inner_id),
                _ => child,
            };
            rotate_right(nodes, id, child)
        }
        (_, Some(child)) if on_right > on_left => {
            let (inner, outer) = (nodes[child].links().left, nodes[child].links().right);
            let child = match inner {
                Some(inner_id) if height(nodes, inner) > height(nodes, outer) => rotate_right(nodes, child, inner_id),
                _ => child,
            };
            rotate_left(nodes, id, child)
        }
        _ => id,
    }
}

fn insert<T: Node>(nodes: &mut Arena<T>, node: Option<Id<T>>, id: Id<T>) -> Id<T> {
    let Some(at) = node else { return id };
    let Links { mut left, mut right, .. } = *nodes[at].links();
    let place = if nodes[id].key() < nodes[at].key() { &mut left } else { &mut right };
    *place = Some(insert(nodes, *place, id));
    balance(nodes, at, left, right)
}

fn remove<T: Node>(nodes: &mut Arena<T>, node: Option<Id<T>>, key: T::Key) -> Option<Id<T>> {
    let at = node?;
    let Links { mut left, mut right, .. } = *nodes[at].links();
    let own_key = nodes[at].key();
    if key == own_key {
        let Some(right) = right else { return left };
        let (rest, first) = remove_first(nodes, right);
        return Some(balance(nodes, first, left, rest));
    }
    let place = if key < own_key { &mut left } else { &mut right };
    *place = remove(nodes, *place, key);
    Some(balance(nodes, at, left, right))
}

/// Returns the subtree without its first node, and that node.
fn remove_first<T: Node>(nodes: &mut Arena<T>, at: Id<T>) -> (Option<Id<T>>, Id<T>) {
    let Links { left, right, .. } = *nodes[at].links();
    let Some(left) = left else { return (right, at) };
    let (rest, first) = remove_first(nodes, left);
    (Some(balance(nodes, at, rest, right)), first)
}

/// Brings the nodes from the root to the one with the key up to date.
fn refresh<T: Node>(nodes: &mut Arena<T>, node: Option<Id<T>>, key: T::Key) {
    let Some(at) = node else { return };
    let Links { left, right, .. } = *nodes[at].links();
    let own_key = nodes[at].key();
    if key != own_key {
        refresh(nodes, if key < own_key { left } else { right }, key);
    }
    let _ = put_below(nodes, at, left, right);
}

/// Returns the tree of two, and of a node between them: it goes down the higher one to where the other is as high.
fn join<T: Node>(nodes: &mut Arena<T>, left: Option<Id<T>>, middle: Id<T>, right: Option<Id<T>>) -> Id<T> {
    let (on_left, on_right) = (height(nodes, left), height(nodes, right));
    match (left, right) {
        (Some(at), _) if on_left > on_right + 1 => {
            let Links { left, right: inner, .. } = *nodes[at].links();
            let below = join(nodes, inner, middle, right);
            balance(nodes, at, left, Some(below))
        }
        (_, Some(at)) if on_right > on_left + 1 => {
            let Links { left: inner, right, .. } = *nodes[at].links();
            let below = join(nodes, left, middle, inner);
            balance(nodes, at, Some(below), right)
        }
        _ => {
            let _ = put_below(nodes, middle, left, right);
            middle
        }
    }
}

fn split<T: Node>(nodes: &mut Arena<T>, node: Option<Id<T>>, key: T::Key) -> (Option<Id<T>>, Option<Id<T>>) {
    let Some(at) = node else { return (None, None) };
    let (left, right) = (nodes[at].links().left, nodes[at].links().right);
    if nodes[at].key() < key {
        let (below, above) = split(nodes, right, key);
        (Some(join(nodes, left, at, below)), above)
    } else {
        let (below, above) = split(nodes, left, key);
        (below, Some(join(nodes, above, at, right)))
    }
}

fn free<T: Node>(nodes: &mut Arena<T>, node: Option<Id<T>>) {
    let mut node = node;
    while let Some(at) = node {
        let Links { left, right, .. } = *nodes[at].links();
        if left.is_some() {
            free(nodes, left);
        }
        nodes.discard(at);
        node = right;
    }
}

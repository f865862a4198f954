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
        let links = nodes[id].links_mut();
        (links.left, links.right) = (None, None);
        update(nodes, id);
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

/// Brings a node's height and notes up to date with its children.
fn update<T: Node>(nodes: &mut Arena<T>, id: Id<T>) {
    let _ = update_and_weigh(nodes, id);
}

/// The same; returns the heights of the children.
fn update_and_weigh<T: Node>(nodes: &mut Arena<T>, id: Id<T>) -> (u32, u32) {
    let node = &nodes[id];
    let [left, right] = [node.links().left, node.links().right].map(|child| child.map(|child| nodes[child].links()));
    let [on_left, on_right] = [left, right].map(|links| links.map_or(0, |links| links.height));
    let notes = node.notes(left.map(|links| links.notes), right.map(|links| links.notes));
    let links = nodes[id].links_mut();
    (links.height, links.notes) = (1 + on_left.max(on_right), notes);
    (on_left, on_right)
}

fn rotate_right<T: Node>(nodes: &mut Arena<T>, id: Id<T>, left: Id<T>) -> Id<T> {
    nodes[id].links_mut().left = nodes[left].links().right;
    update(nodes, id);
    nodes[left].links_mut().right = Some(id);
    update(nodes, left);
    left
}

fn rotate_left<T: Node>(nodes: &mut Arena<T>, id: Id<T>, right: Id<T>) -> Id<T> {
    nodes[id].links_mut().right = nodes[right].links().left;
    update(nodes, id);
    nodes[right].links_mut().left = Some(id);
    update(nodes, right);
    right
}

/// Brings a node up to date, and the heights of its children, which differ by two at the most, within one; returns the node
/// that is in its place then.
fn balance<T: Node>(nodes: &mut Arena<T>, id: Id<T>) -> Id<T> {
    let (on_left, on_right) = update_and_weigh(nodes, id);
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
    if nodes[id].key() < nodes[at].key() {
        let left = insert(nodes, nodes[at].links().left, id);
        nodes[at].links_mut().left = Some(left);
    } else {
        let right = insert(nodes, nodes[at].links().right, id);
        nodes[at].links_mut().right = Some(right);
    }
    balance(nodes, at)
}

fn remove<T: Node>(nodes: &mut Arena<T>, node: Option<Id<T>>, key: T::Key) -> Option<Id<T>> {
    let at = node?;
    let Links { left, right, .. } = *nodes[at].links();
    let own_key = nodes[at].key();
    if key < own_key {
        nodes[at].links_mut().left = remove(nodes, left, key);
    } else if key > own_key {
        nodes[at].links_mut().right = remove(nodes, right, key);
    } else {
        let Some(right) = right else { return left };
        let (rest, first) = remove_first(nodes, right);
        let links = nodes[first].links_mut();
        (links.left, links.right) = (left, rest);
        return Some(balance(nodes, first));
    }
    Some(balance(nodes, at))
}

/// Returns the subtree without its first node, and that node.
fn remove_first<T: Node>(nodes: &mut Arena<T>, at: Id<T>) -> (Option<Id<T>>, Id<T>) {
    let Some(left) = nodes[at].links().left else { return (nodes[at].links().right, at) };
    let (rest, first) = remove_first(nodes, left);
    nodes[at].links_mut().left = rest;
    (Some(balance(nodes, at)), first)
}

/// Brings the nodes from the root to the one with the key up to date.
fn refresh<T: Node>(nodes: &mut Arena<T>, node: Option<Id<T>>, key: T::Key) {
    let Some(at) = node else { return };
    if key < nodes[at].key() {
        refresh(nodes, nodes[at].links().left, key);
    } else if key > nodes[at].key() {
        refresh(nodes, nodes[at].links().right, key);
    }
    update(nodes, at);
}

/// Returns the tree of two, and of a node between them: it goes down the higher one to where the other is as high.
fn join<T: Node>(nodes: &mut Arena<T>, left: Option<Id<T>>, middle: Id<T>, right: Option<Id<T>>) -> Id<T> {
    let (on_left, on_right) = (height(nodes, left), height(nodes, right));
    match (left, right) {
        (Some(at), _) if on_left > on_right + 1 => {
            let below = join(nodes, nodes[at].links().right, middle, right);
            nodes[at].links_mut().right = Some(below);
            balance(nodes, at)
        }
        (_, Some(at)) if on_right > on_left + 1 => {
            let below = join(nodes, left, middle, nodes[at].links().left);
            nodes[at].links_mut().left = Some(below);
            balance(nodes, at)
        }
        _ => {
            let links = nodes[middle].links_mut();
            (links.left, links.right) = (left, right);
            update(nodes, middle);
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

/** What the whole-system tests share: clusters on a mount, and a reader of what they left. */
@NullMarked
package io.pgveil.tests.support;

import org.jspecify.annotations.NullMarked;

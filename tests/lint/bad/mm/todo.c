/* SPDX-License-Identifier: MPL-2.0 */
/* lint-must-find: todo */
/* TODO: later */

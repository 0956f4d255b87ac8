/* lint-must-find: spdx */


/* SPDX-License-Identifier: MPL-2.0 */
/* Devices' memory in a guest: mapped, found again by either address, taken out; each refusal. */
#include "mm/vm_device.h"

#include "base/err.h"
#include "tests/unit/space.h"

#define DEVICE (UINT64_C(64) << 30)
#define RW_UC  (PT_RW | PT_MEM_UC)

static void test_map_and_find(void)
{
	struct vm_device d;
	struct pt_leaf leaf;

	CU_ASSERT_EQUAL(vm_device_map(&space, gpa(0x10000), hpa(DEVICE), 0x3000, RW_UC), 0);
	CU_ASSERT_EQUAL(vm_device_map(&space, gpa(SIZE_1G), hpa(DEVICE + SIZE_1G), SIZE_2M, RW_UC),
			0);
	CU_ASSERT_TRUE(look(0x12fff, &leaf));
	CU_ASSERT_EQUAL(leaf.attr, RW_UC);
	CU_ASSERT_EQUAL(leaf.hpa.hpa, DEVICE + 0x2000);
	CU_ASSERT_TRUE(look(SIZE_1G, &leaf));
	CU_ASSERT_EQUAL(leaf.size, SIZE_2M);
	CU_ASSERT_TRUE(vm_device_at(&space, gpa(0x12fff), &d));
	CU_ASSERT(d.gpa.gpa == 0x10000 && d.hpa.hpa == DEVICE && d.len == 0x3000);
	CU_ASSERT_FALSE(vm_device_at(&space, gpa(0x13000), &d));
	CU_ASSERT_FALSE(vm_device_at(&space, gpa(0xffff), &d));
	CU_ASSERT_TRUE(vm_device_find(&space, hpa(DEVICE + SIZE_1G + 5), &d));
	CU_ASSERT_EQUAL(d.gpa.gpa, SIZE_1G);
	CU_ASSERT_FALSE(vm_device_find(&space, hpa(DEVICE + 0x3000), &d));
	CU_ASSERT_TRUE(vm_device_nth(&space, 1, &d));
	CU_ASSERT_FALSE(vm_device_nth(&space, 2, &d));
	CU_ASSERT_EQUAL(vm_device_unmap(&space, gpa(0x11000)), -ENOENT);
	CU_ASSERT_EQUAL(vm_device_unmap(&space, gpa(0x10000)), 0);
	CU_ASSERT_EQUAL(vm_device_unmap(&space, gpa(0x10000)), -ENOENT);
	CU_ASSERT_FALSE(look(0x10000, &leaf));
	CU_ASSERT_FALSE(vm_device_at(&space, gpa(0x10000), &d));
	CU_ASSERT_TRUE(vm_device_at(&space, gpa(SIZE_1G), &d));
}

/* When it has been taken out no CPU reaches the device. */
static void test_unmap_flushes(void)
{
	uint64_t generation;

	CU_ASSERT_EQUAL(vm_device_map(&space, gpa(0), hpa(DEVICE), PAGE_SIZE, RW_UC), 0);
	vm_space_activate(&space);
	CU_ASSERT_EQUAL(vm_space_cpus(&space), 1);
	vm_space_leave(&space);
	CU_ASSERT_EQUAL(vm_space_cpus(&space), 0);
	generation = atomic_load(&space.pt.tlb.generation);
	CU_ASSERT_EQUAL(vm_device_unmap(&space, gpa(0)), 0);
	CU_ASSERT(atomic_load(&space.pt.tlb.generation) > generation);
	CU_ASSERT_TRUE(vm_space_activate(&space));
	vm_space_leave(&space);
}

static int try(uint64_t at, uint64_t start, uint64_t len, pt_attr_t attr)
{
	return vm_device_map(&space, gpa(at), hpa(start), len, attr);
}

static void test_refuses(void)
{
	uint64_t limit = ops->limits->hpa_limit, top = ops->limits->va_last + 1;
	struct vm_device d;
	struct pt_leaf leaf;

	CU_ASSERT_EQUAL(try(0, DEVICE, 0, RW_UC), -EINVAL);
	CU_ASSERT_EQUAL(try(1, DEVICE, PAGE_SIZE, RW_UC), -EINVAL);
	CU_ASSERT_EQUAL(try(0, DEVICE + 8, PAGE_SIZE, RW_UC), -EINVAL);
	CU_ASSERT_EQUAL(try(0, DEVICE, PAGE_SIZE + 1, RW_UC), -EINVAL);
	CU_ASSERT_EQUAL(try(0, limit, PAGE_SIZE, RW_UC), -ERANGE);
	CU_ASSERT_EQUAL(try(0, limit - PAGE_SIZE, 2 * PAGE_SIZE, RW_UC), -ERANGE);
	CU_ASSERT_EQUAL(try(0, DEVICE, -(uint64_t)PAGE_SIZE, RW_UC), -ERANGE);
	CU_ASSERT_EQUAL(try(top - PAGE_SIZE, DEVICE, 2 * PAGE_SIZE, RW_UC), -ERANGE);
	CU_ASSERT_EQUAL(try(0, 0x5000, PAGE_SIZE, RW_UC), -EBUSY); /* RAM */
	if (ops->limits->name[0] != 'f')
		CU_ASSERT_EQUAL(try(0, DEVICE, PAGE_SIZE, PT_WRITE | PT_MEM_UC), -EINVAL);
	map_fresh(0x2000, 0, WB_RW);
	CU_ASSERT_EQUAL(try(0, DEVICE, 4 * PAGE_SIZE, RW_UC), -EEXIST);
	CU_ASSERT_FALSE(look(0x1000, &leaf));
	CU_ASSERT_FALSE(look(0x3000, &leaf));
	for (uint64_t i = 0; i < VM_DEVICES; i++)
		CU_ASSERT_EQUAL(try(SIZE_2M + i * PAGE_SIZE, DEVICE, PAGE_SIZE, RW_UC), 0);
	CU_ASSERT_EQUAL(try(0, DEVICE, PAGE_SIZE, RW_UC), -ENOSPC);
	CU_ASSERT_FALSE(vm_device_at(&space, gpa(0), &d));
}

/* Memory for tables runs out on the way: nothing is mapped. */
static void test_no_memory(void)
{
	struct vm_device d;
	struct pt_leaf leaf;
	int err = -ENOMEM;

	for (unsigned skip = 0; err != 0; skip++) {
		frame_alloc_fail_after(skip);
		err = try(SIZE_1G - 3 * PAGE_SIZE, DEVICE, 2 * SIZE_2M, RW_UC);
		frame_alloc_fail_after(-1);
		CU_ASSERT(err == 0 || err == -ENOMEM);
		CU_ASSERT_EQUAL(look(SIZE_1G - 3 * PAGE_SIZE, &leaf), err == 0);
		CU_ASSERT_EQUAL(vm_device_find(&space, hpa(DEVICE), &d), err == 0);
		CU_ASSERT_EQUAL(lock_held(), 0);
	}
}

#define EACH(name)                    \
	static void each_##name(void) \
	{                             \
		on_each(test_##name); \
	}
#define ALL(X)           \
	X(map_and_find)  \
	X(unmap_flushes) \
	X(refuses)       \
	X(no_memory)

ALL(EACH)

void suite_vm_device(void);
void suite_vm_device(void)
{
	CU_pSuite s = CU_add_suite("vm_device", NULL, NULL);

#define ADD(name) CU_add_test(s, #name, each_##name);
	ALL(ADD)
}

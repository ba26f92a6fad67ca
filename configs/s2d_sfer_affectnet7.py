# S2D's image stage on AffectNet-7, from which its models for videos start. No official recipe is
# published; where each number comes from is said in _base_/s2d_image.py.
#
#   bash tools/dist_train.sh configs/s2d_sfer_affectnet7.py 2 --amp
_base_ = ['_base_/s2d_image.py']
work_dir = 'work_dirs/s2d_sfer_affectnet7'

# 224 x 224 aligned faces and the lists of the S4D repository
images = dict(
    type='ExpressionImageDataset', task='affectnet7', data_root='data/AffectNetdataset',
    data_prefix=dict(media='Manually_Annotated_Images'))

model = dict(cls_head=dict(num_classes=dict(affectnet7=7)))

train_dataloader = dict(
    batch_sampler=dict(balanced=['affectnet7']),  # as in UniLearn: half of the images are happy
    dataset=dict(datasets=[dict(**images, ann_file='train_affectnet7_2w.txt')]))
test_data = [dict(**images, ann_file='test_affectnet7_2w.txt', test_mode=True)]
val_dataloader = dict(dataset=dict(datasets=test_data))
test_dataloader = dict(dataset=dict(datasets=test_data))
